//! The shape of a rich text: blocks, containers, inline runs and marks, as plain data.

/// How deep lists and quotes nest; what is nested deeper is read as if it stood at this depth.
pub const NESTING_MAX: usize = 16;

/// A hard line break inside a block (Unicode LINE SEPARATOR). A plain `\n` is a soft break.
pub const HARD_BREAK: char = '\u{2028}';

/// One block of a note with its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// What the block is.
    pub kind: BlockKind,
    /// What the block stands in, outermost first. A list item is named by those inside it: a paragraph or a nested item
    /// whose last parent is [`Container::UnorderedItem`] belongs to the unordered item before it.
    pub parents: Vec<Container>,
    /// The text, as runs of equal marks.
    pub content: Vec<Inline>,
}

/// The kinds of block.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BlockKind {
    /// Running text.
    Paragraph,
    /// A heading.
    Heading {
        /// 1 to 6.
        level: u8,
    },
    /// A list item; its nesting follows from its parents.
    Item {
        /// Numbered?
        ordered: bool,
        /// Where the numbering of the list starts, if this is its first item and that is not 1.
        start: Option<u32>,
        /// Done or not, if this is a task.
        checked: Option<bool>,
    },
    /// Preformatted text.
    CodeBlock {
        /// The language named after the fence; empty when none is.
        language: String,
    },
    /// A horizontal rule; it has no text.
    Rule,
    /// A block of HTML from Markdown, kept as it was written.
    Html,
    /// A block of another tool that this schema does not know; it is kept, and shown as a paragraph.
    Other {
        /// Its Automerge block type.
        name: String,
    },
}

/// What blocks stand in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Container {
    /// The unordered list item before.
    UnorderedItem,
    /// The ordered list item before.
    OrderedItem,
    /// A quotation.
    Quote,
    /// A container of another tool.
    Other(String),
}

/// A piece of a block's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inline {
    /// Text with one set of marks.
    Text {
        /// The characters; `\n` is a soft break, [`HARD_BREAK`] a hard one.
        text: String,
        /// The marks on all of them.
        marks: Marks,
    },
    /// An image; it counts as one position.
    Image {
        /// What to show.
        image: Image,
        /// The marks on it (a link, mostly).
        marks: Marks,
    },
}

/// An image in the text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Image {
    /// Where it is.
    pub src: String,
    /// What to say where it cannot be shown.
    pub alt: String,
    /// Its title; empty when it has none.
    pub title: String,
}

/// The marks that this schema knows. Marks of other tools are kept in the document and do not appear here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Marks {
    /// Bold; Automerge mark `strong`.
    pub strong: bool,
    /// Italic; Automerge mark `em`.
    pub em: bool,
    /// Struck out; Automerge mark `strike`.
    pub strike: bool,
    /// Code inside a line; Automerge mark `code`.
    pub code: bool,
    /// Raw HTML inside a line, kept as it was written; Automerge mark `html`.
    pub html: bool,
    /// A link; Automerge mark `link`, whose value is JSON with `href` and `title`.
    pub link: Option<Link>,
}

/// Where a link leads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Link {
    /// The address.
    pub href: String,
    /// The title; empty when it has none.
    #[serde(deserialize_with = "null_as_empty")]
    pub title: String,
}

/// Other tools write `null` where a link has no title.
fn null_as_empty<'de, D: serde::Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    Ok(<Option<String> as serde::Deserialize>::deserialize(value)?.unwrap_or_default())
}

/// A block without its text: what an Automerge block marker says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Head {
    pub(super) kind: BlockKind,
    pub(super) parents: Vec<Container>,
}

/// One position of the text: every token is one Unicode code point wide.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Token {
    Block(Box<Head>),
    Char(char),
    Image(Box<Image>),
}

impl Marks {
    /// Are there none?
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Block {
    /// A block of one unmarked text.
    pub fn plain(kind: BlockKind, text: &str) -> Self {
        let mut block = Self { kind, parents: Vec::new(), content: Vec::new() };
        block.push_text(text, &Marks::default());
        block
    }

    /// The text without marks and images.
    pub fn text(&self) -> String {
        let runs = self.content.iter();
        runs.filter_map(|run| if let Inline::Text { text, .. } = run { Some(text.as_str()) } else { None }).collect()
    }

    /// Appends text, joining it to a run of the same marks.
    pub(super) fn push_text(&mut self, more: &str, with: &Marks) {
        if more.is_empty() {
            return;
        }
        match self.content.last_mut() {
            Some(Inline::Text { text, marks }) if marks == with => text.push_str(more),
            _ => self.content.push(Inline::Text { text: more.to_owned(), marks: with.clone() }),
        }
    }

    /// The content as tokens, each with its marks.
    pub(super) fn units(&self) -> Vec<(Token, Marks)> {
        let mut units = Vec::new();
        for run in &self.content {
            match run {
                Inline::Text { text, marks } => units.extend(text.chars().map(|c| (Token::Char(c), marks.clone()))),
                Inline::Image { image, marks } => units.push((Token::Image(Box::new(image.clone())), marks.clone())),
            }
        }
        units
    }
}

/// A text as parallel rows of tokens and marks. Marks are few and characters many, so marks are kept once each.
#[derive(Clone, Debug, Default)]
pub(super) struct Tokens {
    pub(super) tokens: Vec<Token>,
    marks: Vec<u32>,
    palette: Vec<Marks>,
}

impl Tokens {
    pub(super) fn of(blocks: &[Block]) -> Self {
        let mut all = Self::default();
        for block in blocks {
            let head = Head { kind: block.kind.clone(), parents: block.parents.clone() };
            all.push(Token::Block(Box::new(head)), &Marks::default());
            for run in &block.content {
                match run {
                    Inline::Text { text, marks } => all.push_text(text, marks),
                    Inline::Image { image, marks } => all.push(Token::Image(Box::new(image.clone())), marks),
                }
            }
        }
        all
    }

    /// The blocks again. Text before the first block marker is a paragraph of its own.
    pub(super) fn blocks(&self) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        for (token, marks) in self.tokens.iter().zip(&self.marks) {
            if let Token::Block(head) = token {
                let Head { kind, parents } = head.as_ref().clone();
                blocks.push(Block { kind, parents, content: Vec::new() });
                continue;
            }
            if blocks.is_empty() {
                blocks.push(Block::plain(BlockKind::Paragraph, ""));
            }
            let block = blocks.last_mut().expect("just pushed one where there was none");
            let marks = &self.palette[*marks as usize];
            match token {
                Token::Char(c) => block.push_text(c.encode_utf8(&mut [0; 4]), marks),
                Token::Image(image) => {
                    block.content.push(Inline::Image { image: image.as_ref().clone(), marks: marks.clone() });
                }
                Token::Block(_) => {}
            }
        }
        blocks
    }

    pub(super) fn push(&mut self, token: Token, marks: &Marks) {
        let index = self.shade(marks);
        self.tokens.push(token);
        self.marks.push(index);
    }

    pub(super) fn push_text(&mut self, text: &str, marks: &Marks) {
        let index = self.shade(marks);
        for c in text.chars() {
            self.tokens.push(Token::Char(c));
            self.marks.push(index);
        }
    }

    pub(super) fn marks(&self, at: usize) -> &Marks {
        &self.palette[self.marks[at] as usize]
    }

    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    fn shade(&mut self, marks: &Marks) -> u32 {
        if let Some(&last) = self.marks.last()
            && self.palette[last as usize] == *marks
        {
            return last;
        }
        let known = self.palette.iter().position(|shade| shade == marks);
        let index = known.unwrap_or_else(|| {
            self.palette.push(marks.clone());
            self.palette.len() - 1
        });
        u32::try_from(index).expect("a palette is smaller than its text")
    }
}
