// The relay's status page in real Chromium, while a device puts and is delivered: what it shows, whether it is renewed, that it asks nobody else for
// anything, at the width of a screen and of a phone, in light and in dark.
//
//     node check.mjs PATH_OF_CLAVE_RELAY PATH_OF_CHROMIUM PROGRAM_THAT_MAKES_TRAFFIC

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { chromium } from 'playwright-core'

const PATIENCE_MS = 30_000
const SIZES = [['a screen', 1280, 800, 'light'], ['a phone', 360, 740, 'dark'], ['a small phone', 320, 560, 'light']]

/** The relay, where devices reach it and where its page is. */
async function startRelay (program, folder) {
  const config = join(folder, 'relay.toml')
  await writeFile(config, `listen = ["/ip4/127.0.0.1/tcp/0"]\ndata = ${JSON.stringify(folder)}\n[metrics]\nlisten = "127.0.0.1:0"\n`)
  const child = spawn(program, ['run', '--config', config], { stdio: ['ignore', 'pipe', 'inherit'] })
  const found = {}
  for await (const line of createInterface({ input: child.stdout })) {
    found.address ??= line.match(/^listening on (.*)$/)?.[1]
    found.page ??= line.match(/^metrics on (.*)$/)?.[1]
    if (found.address && found.page) return { child, ...found }
  }
  throw new Error('the relay ended')
}

/** What a list of the page shows: name to value. */
function list (page, id) {
  return page.$eval(`#${id}`, list => Object.fromEntries([...list.querySelectorAll('dt')].map(term => [term.textContent, term.nextElementSibling.textContent])))
}

/** Waits until the page shows it. */
function shows (page, id, name, pattern) {
  const told = ([id, name, source]) => [...document.querySelectorAll(`#${id} dt`)].some(term => term.textContent === name && new RegExp(source).test(term.nextElementSibling.textContent))
  return page.waitForFunction(told, [id, name, pattern.source], { timeout: PATIENCE_MS })
}

async function look (browser, url, [what, width, height, colorScheme]) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme, isMobile: width < 500 })
  const page = await context.newPage()
  const asked = []
  const wrong = []
  page.on('request', request => asked.push(request.url()))
  page.on('console', message => { if (['error', 'warning'].includes(message.type())) wrong.push(message.text()) })
  page.on('pageerror', error => wrong.push(String(error)))
  page.on('requestfailed', request => wrong.push(`${request.url()} failed`))
  await page.goto(url)
  // Load: something is put and delivered, now.
  await shows(page, 'load', 'Stored', /^[1-9][\d,]*\/s$/)
  await shows(page, 'load', 'Delivered', /^[1-9][\d,]*\/s$/)
  const [load, queues, storage] = await Promise.all(['load', 'queues', 'storage'].map(id => list(page, id)))
  assert.match(load.Sessions, /^[1-9]\d*$/)
  assert.match(load['Mailboxes followed'], /^[1-9]\d*$/)
  assert.match(load.In, /^[\d.]+ \w+\/s$/)
  assert.match(queues['Put to disk, half of them'], /^(≤ \d+ ms|> 5 s)$/)
  assert.match(queues['Put to disk, 99 %'], /^(≤ \d+ ms|> 5 s)$/)
  assert.match(queues['Requests in memory'], /^\d/)
  assert.match(storage.Entries, /^[1-9][\d,]*$/)
  assert.match(storage.Stored, /^[\d.]+ \w+ of 10\.0 GiB$/)
  assert.match(storage['Disk free'], /^[\d.]+ (MiB|GiB|TiB)$/)
  assert.equal(await page.textContent('#state'), 'running')
  assert.match(await page.textContent('#version'), /^version \d+\.\d+\.\d+, protocol 1, up \d+/)
  // It is renewed by itself.
  const entries = await page.$eval('#storage', list => list.textContent)
  await page.waitForFunction(before => document.querySelector('#storage').textContent !== before, entries, { timeout: PATIENCE_MS })
  // Nothing is cut off at the side, nothing written so small that it cannot be read, and it can be told apart from what is behind it.
  const sizes = await page.evaluate(() => ({ wide: document.documentElement.scrollWidth, room: document.documentElement.clientWidth,
    beyond: [...document.querySelectorAll('body *')].filter(one => one.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5).map(one => one.tagName),
    small: [...document.querySelectorAll('dt, dd, h1, h2, footer')].filter(one => parseFloat(getComputedStyle(one).fontSize) < 12).length }))
  assert.ok(sizes.wide <= sizes.room, `${what}: ${sizes.wide} px in ${sizes.room}`)
  assert.deepEqual([sizes.beyond, sizes.small], [[], 0], what)
  // The links lead to what they say, on the same port.
  for (const [text, kind] of [['Metrics', /^text\/plain/], ['JSON', /^application\/json/]]) {
    const href = await page.getAttribute(`footer a:text-is("${text}")`, 'href')
    const answer = await context.request.get(new URL(href, url).href)
    assert.ok(answer.ok() && kind.test(answer.headers()['content-type']), text)
  }
  const elsewhere = asked.filter(address => new URL(address).origin !== new URL(url).origin && !address.startsWith('data:'))
  assert.deepEqual([elsewhere, wrong], [[], []], what)
  if (process.env.CLAVE_SCREENSHOTS) await page.screenshot({ path: join(process.env.CLAVE_SCREENSHOTS, `${width}.png`), fullPage: true })
  console.log(`${what} (${width}×${height}, ${colorScheme}): ${asked.length} requests, all to the page itself; ${load.Stored} stored, ${load.Delivered} delivered, ${storage.Stored}`)
  return { context, page, wrong }
}

const [program, executablePath, traffic] = process.argv.slice(2)
const folder = await mkdtemp(join(tmpdir(), 'clave-status-page-'))
const relay = await startRelay(program, folder)
const devices = spawn(traffic, [relay.address], { stdio: ['ignore', 'inherit', 'inherit'] })
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
try {
  const looked = []
  for (const size of SIZES) looked.push(await look(browser, relay.page, size))
  // It says when the relay drains, and when it is gone.
  const [{ page }] = looked
  devices.kill()
  relay.child.kill('SIGTERM')
  await page.waitForFunction(() => document.querySelector('#state').textContent === 'not reached' && document.querySelector('#state').className === 'bad', null, { timeout: PATIENCE_MS })
  console.log('the page says that the relay is gone')
} finally {
  await browser.close()
  devices.kill()
  if (relay.child.exitCode === null) {
    relay.child.kill()
    await once(relay.child, 'exit')
  }
  await rm(folder, { recursive: true })
}
