//! The `clave` command: everything a team does with Clave, for people in a terminal and for scripts.
//!
//! This crate owns words, columns, exit codes and the socket between a running node (`clave run`) and other commands. It
//! knows the library by its facade only. A command becomes a [`Request`](request::Request), which is answered by
//! [`execute`](execute::execute) in the process that holds the data directory, and shown by [`show`].

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;

mod args;
mod ask;
mod audit;
mod demo;
mod doctor;
mod edit;
mod execute;
mod failure;
mod init;
mod place;
mod progress;
mod qr;
mod recovery;
mod replay;
mod reply;
mod request;
mod run;
mod screen;
mod session;
mod show;
mod text;
mod time;
mod when;
mod wire;

use args::{Cli, Command};
use failure::{Code, Failure};
use place::Place;
use screen::Screen;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return not_understood(&error),
    };
    let screen = Screen::new(cli.global.json);
    log(cli.global.verbose);
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&screen, &Failure::failed(error)),
    };
    let done = runtime.block_on(Box::pin(run_command(cli, &screen)));
    // A question that nobody answered may still be waiting on the terminal.
    runtime.shutdown_background();
    match done {
        Ok(code) => code,
        Err(failure) => fail(&screen, &failure),
    }
}

async fn run_command(cli: Cli, screen: &Screen) -> Result<ExitCode, Failure> {
    if let Command::Completions { shell } = cli.command {
        screen.completions(shell)?;
        return Ok(ExitCode::SUCCESS);
    }
    let place = Place::new(cli.global.dir.clone());
    match cli.command {
        Command::Init(init) => init::init(&place?, init, screen).await?,
        Command::Restore(restore) => init::init(&place?, restore.into(), screen).await?,
        Command::Run(run) => run::run(&place?, run, screen).await?,
        Command::Doctor(examine) => return doctor::doctor(place?, examine, screen).await,
        Command::Demo(demo) => return demo::demo(demo, cli.global.dir, screen).await,
        Command::Note(args::NoteCommand::Replay { trace, keep }) => {
            return replay::command(&trace, keep, cli.global.dir, screen).await;
        }
        command => {
            let place = place?;
            let about = request::About { space: cli.global.space, circle: cli.global.circle };
            let asking = ask::ask(&place, about, command, screen);
            tokio::select! {
                done = asking => done?,
                _ = tokio::signal::ctrl_c() => return Err(Failure::interrupted()),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn fail(screen: &Screen, failure: &Failure) -> ExitCode {
    screen.failure(failure);
    ExitCode::from(failure.code.exit())
}

/// What was typed is no command. Help and version, which were asked for, are no failure.
fn not_understood(error: &clap::Error) -> ExitCode {
    let asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if !asked_for && args::asks_for_json(std::env::args_os()) {
        let text = error.to_string();
        let sentence = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        return fail(&Screen::new(true), &Failure::new(Code::Usage, sentence));
    }
    // There is nowhere to complain to if that fails.
    let _ = error.print();
    ExitCode::from(if asked_for { 0 } else { Code::Usage.exit() })
}

/// Logs go to stderr, and say no names, no content and no secrets.
fn log(verbose: u8) {
    let level = match verbose {
        0 => "error",
        1 => "clave=info,clave_engine=info,clave_transport=info,warn",
        _ => "clave=debug,clave_engine=debug,clave_transport=debug,info",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("CLAVE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
