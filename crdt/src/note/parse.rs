//! Markdown to blocks: CommonMark by pulldown-cmark, with task lists and strikethrough.

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use super::model::{Block, BlockKind, Container, HARD_BREAK, Image, Inline, Link, Marks, NESTING_MAX};

/// Reads Markdown. Total: every text is some Markdown.
pub(super) fn parse(markdown: &str) -> Vec<Block> {
    let markdown = markdown.replace("\r\n", "\n").replace('\r', "\n");
    let mut reader = Reader::default();
    for event in Parser::new_ext(&markdown, Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS) {
        reader.event(event);
    }
    reader.blocks
}

#[derive(Default)]
struct Reader {
    blocks: Vec<Block>,
    parents: Vec<Container>,
    lists: Vec<List>,
    /// Whether text may go into the last block.
    open: bool,
    /// Whether the last block is an item that has nothing in it yet, so that its first paragraph is its own text.
    fresh_item: bool,
    strong: usize,
    em: usize,
    strike: usize,
    code: usize,
    links: Vec<Link>,
    images: Vec<Image>,
}

struct List {
    start: Option<u64>,
    first: bool,
}

impl Reader {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => self.text(&text, false),
            Event::Code(text) => self.text(&text, true),
            // A heading is one line.
            Event::SoftBreak | Event::HardBreak if self.is_in_heading() => self.text(" ", false),
            // A tag that became a mark may have been alone on its line.
            Event::SoftBreak | Event::HardBreak if self.is_at_line_start() => {}
            Event::SoftBreak => self.text("\n", false),
            Event::HardBreak => self.text(HARD_BREAK.encode_utf8(&mut [0; 4]), false),
            Event::Html(html) => self.text(&html, false),
            Event::InlineHtml(html) => self.inline_html(&html),
            Event::Rule => {
                self.block(BlockKind::Rule);
                self.open = false;
            }
            Event::TaskListMarker(done) => {
                if let Some(Block { kind: BlockKind::Item { checked, .. }, .. }) = self.blocks.last_mut() {
                    *checked = Some(done);
                }
            }
            // Not enabled: footnotes, mathematics.
            Event::FootnoteReference(text) | Event::InlineMath(text) | Event::DisplayMath(text) => {
                self.text(&text, false)
            }
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Paragraph if self.fresh_item => self.fresh_item = false,
            Tag::Paragraph => self.block(BlockKind::Paragraph),
            Tag::Heading { level, .. } => self.block(BlockKind::Heading { level: number(level) }),
            Tag::CodeBlock(CodeBlockKind::Fenced(language)) => {
                self.block(BlockKind::CodeBlock { language: language.into_string() })
            }
            Tag::CodeBlock(CodeBlockKind::Indented) => self.block(BlockKind::CodeBlock { language: String::new() }),
            Tag::HtmlBlock => self.block(BlockKind::Html),
            Tag::BlockQuote(_) => {
                self.parents.push(Container::Quote);
                self.close();
            }
            Tag::List(start) => self.lists.push(List { start, first: true }),
            Tag::Item => self.item(),
            Tag::Strong => self.strong += 1,
            Tag::Emphasis => self.em += 1,
            Tag::Strikethrough => self.strike += 1,
            Tag::Link { dest_url, title, .. } => {
                self.links.push(Link { href: dest_url.into_string(), title: title.into_string() })
            }
            Tag::Image { dest_url, title, .. } => {
                self.images.push(Image { src: dest_url.into_string(), alt: String::new(), title: title.into_string() })
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Paragraph | TagEnd::Heading(_) => self.close(),
            TagEnd::CodeBlock | TagEnd::HtmlBlock => {
                if let Some(Inline::Text { text, .. }) = self.blocks.last_mut().and_then(|b| b.content.last_mut())
                    && text.ends_with('\n')
                {
                    text.pop();
                }
                if let Some(block) = self.blocks.last_mut() {
                    if block.kind == BlockKind::Html && !ends_by_itself(&block.text()) {
                        block.kind = BlockKind::CodeBlock { language: "html".to_owned() };
                    }
                    block.content.retain(|run| !matches!(run, Inline::Text { text, .. } if text.is_empty()));
                }
                self.close();
            }
            TagEnd::BlockQuote(_) | TagEnd::Item => {
                self.parents.pop();
                self.close();
            }
            TagEnd::List(_) => {
                self.lists.pop();
                self.close();
            }
            TagEnd::Strong => self.strong = self.strong.saturating_sub(1),
            TagEnd::Emphasis => self.em = self.em.saturating_sub(1),
            TagEnd::Strikethrough => self.strike = self.strike.saturating_sub(1),
            TagEnd::Link => {
                self.links.pop();
            }
            TagEnd::Image => {
                if let Some(image) = self.images.pop() {
                    self.image(image);
                }
            }
            _ => {}
        }
    }

    fn close(&mut self) {
        self.open = false;
        self.fresh_item = false;
        (self.strong, self.em, self.strike, self.code) = (0, 0, 0, 0);
    }

    fn block(&mut self, kind: BlockKind) {
        self.close();
        let parents = self.parents.iter().take(NESTING_MAX).cloned().collect();
        self.blocks.push(Block { kind, parents, content: Vec::new() });
        self.open = true;
    }

    fn item(&mut self) {
        let (ordered, start) = match self.lists.last_mut() {
            Some(List { start: Some(start), first }) => {
                let start = u32::try_from(*start).ok().filter(|n| *first && *n != 1);
                *first = false;
                (true, start)
            }
            _ => (false, None),
        };
        self.block(BlockKind::Item { ordered, start, checked: None });
        self.fresh_item = true;
        self.parents.push(if ordered { Container::OrderedItem } else { Container::UnorderedItem });
    }

    fn marks(&self) -> Marks {
        Marks {
            strong: self.strong > 0,
            em: self.em > 0,
            strike: self.strike > 0,
            code: self.code > 0,
            html: false,
            link: self.links.last().cloned(),
        }
    }

    fn text(&mut self, text: &str, code: bool) {
        if let Some(image) = self.images.last_mut() {
            image.alt.push_str(text);
            return;
        }
        let mut marks = self.marks();
        marks.code |= code;
        self.open_block().push_text(text, &marks);
    }

    fn image(&mut self, image: Image) {
        if let Some(outer) = self.images.last_mut() {
            outer.alt.push_str(&image.alt);
            return;
        }
        let marks = self.marks();
        self.open_block().content.push(Inline::Image { image, marks });
    }

    /// The tags that the writer falls back to where CommonMark's delimiters cannot say it; other HTML stays as it is.
    fn inline_html(&mut self, html: &str) {
        let count = match html.to_ascii_lowercase().trim_matches(['<', '>', '/']) {
            "strong" | "b" => Some(&mut self.strong),
            "em" | "i" => Some(&mut self.em),
            "del" | "s" => Some(&mut self.strike),
            "code" => Some(&mut self.code),
            _ => None,
        };
        match count {
            Some(count) if !html.starts_with("</") => *count += 1,
            Some(count) if *count > 0 => *count -= 1,
            _ => {
                let marks = Marks { html: true, ..self.marks() };
                self.open_block().push_text(html, &marks);
            }
        }
    }

    fn is_in_heading(&self) -> bool {
        self.open && matches!(self.blocks.last(), Some(Block { kind: BlockKind::Heading { .. }, .. }))
    }

    fn is_at_line_start(&self) -> bool {
        self.open
            && match self.blocks.last().and_then(|block| block.content.last()) {
                Some(Inline::Text { text, .. }) => text.ends_with(['\n', HARD_BREAK]),
                Some(Inline::Image { .. }) => false,
                None => true,
            }
    }

    fn open_block(&mut self) -> &mut Block {
        // A tight item's text comes without a paragraph around it, also behind a heading or a list inside the item.
        if !self.open {
            self.block(BlockKind::Paragraph);
        }
        self.fresh_item = false;
        self.blocks.last_mut().expect("a block is open")
    }
}

/// Whether a block of HTML leaves what follows it alone. One that does not (an open comment, say) is kept as code.
pub(super) fn ends_by_itself(html: &str) -> bool {
    let source = format!("{html}\n\nx");
    let mut text = String::new();
    let mut events = Parser::new(&source);
    if events.next() != Some(Event::Start(Tag::HtmlBlock)) {
        return false;
    }
    for event in events.by_ref() {
        match event {
            Event::Html(line) => text.push_str(&line),
            _ => break,
        }
    }
    text.strip_suffix('\n') == Some(html) && events.next() == Some(Event::Start(Tag::Paragraph))
}

fn number(level: HeadingLevel) -> u8 {
    match level {
        HeadingLevel::H1 => 1,
        HeadingLevel::H2 => 2,
        HeadingLevel::H3 => 3,
        HeadingLevel::H4 => 4,
        HeadingLevel::H5 => 5,
        HeadingLevel::H6 => 6,
    }
}
