//! What lies over the panes. The topmost layer takes the keys; Esc takes one away.

use tui_input::Input;
use zerostate::document::{Draft, Untrusted};

use super::details::Detail;
use super::find::Find;
use super::forms::connect::ConnectForm;
use super::forms::guild::GuildForm;
use super::forms::submit::SubmitForm;
use super::pending::Found;
use super::theme::Theme;

/// One layer.
#[derive(Debug)]
pub enum Layer {
    Detail(Box<Detail>),
    Submit(Box<SubmitForm>),
    Connect(ConnectForm),
    Guild(GuildForm),
    Confirm(Confirm),
    Palette(Palette),
    Help(Help),
    Text(Text),
    Facts(Facts),
    Themes(Themes),
    Files(Files),
}

/// A question with what Yes would do. It stands at No until one moves.
#[derive(Debug, Clone, PartialEq)]
pub struct Confirm {
    pub title: String,
    /// What will be done, exactly; label and text.
    pub facts: Vec<(String, String)>,
    pub warning: String,
    pub yes_label: String,
    pub yes: bool,
    pub what: Confirmed,
    pub scroll: usize,
    /// It came by itself: for a moment it takes no Yes, so that no key does that was meant for something else.
    pub waits: Option<u64>,
}

impl Confirm {
    /// A question at its beginning: at No.
    pub fn new(
        title: String,
        facts: Vec<(String, String)>,
        warning: &str,
        yes_label: String,
        what: Confirmed,
    ) -> Self {
        Self {
            title,
            facts,
            warning: warning.to_owned(),
            yes_label,
            yes: false,
            what,
            scroll: 0,
            waits: None,
        }
    }
}

/// What a Yes leads to.
#[derive(Debug, Clone, PartialEq)]
pub enum Confirmed {
    /// Sign what was found.
    Sign(Vec<Found>),
    /// Tasks by id and name.
    Cancel(Vec<(String, String)>),
    Inbox {
        ids: Vec<String>,
        accept: bool,
    },
    /// Leave a guild; with its creator it ends.
    Leave {
        guild_id: String,
        name: String,
        own: bool,
    },
    /// Throw away what was typed into the form below.
    Discard,
    Quit,
}

/// The command palette.
#[derive(Debug, Default)]
pub struct Palette {
    pub input: Input,
    pub chosen: usize,
    /// A journal is shown, and no node.
    pub replay: bool,
}

/// The keys of where one was.
#[derive(Debug, Default)]
pub struct Help {
    pub contexts: Vec<&'static str>,
    pub scroll: usize,
}

/// Text to read: a manifest, the reasons for a choice.
#[derive(Debug, Default)]
pub struct Text {
    pub title: String,
    pub body: String,
    pub scroll: usize,
    pub find: Find,
}

/// Things with their names, to read.
#[derive(Debug, Default)]
pub struct Facts {
    pub title: String,
    pub facts: Vec<(String, String)>,
    pub scroll: usize,
    pub find: Find,
}

/// The themes to choose from; the one that is chosen is shown already.
#[derive(Debug)]
pub struct Themes {
    pub chosen: usize,
    /// What it was before.
    pub before: Theme,
}

/// A folder to choose a file from.
#[derive(Debug, Default)]
pub struct Files {
    /// As it is spelt in the form, with a slash at the end; the working directory when empty.
    pub folder: String,
    pub entries: Vec<FileEntry>,
    pub chosen: usize,
    pub hidden: bool,
    /// Why it cannot be read.
    pub problem: Option<String>,
    pub reading: bool,
    /// What the names have to contain.
    pub find: Find,
}

/// One thing in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    pub name: String,
    pub folder: bool,
    /// In bytes.
    pub size: u64,
}

impl Files {
    /// What is shown of it.
    pub fn shown(&self) -> Vec<&FileEntry> {
        let word = self.find.word().map(str::to_lowercase).unwrap_or_default();
        let is_shown = |entry: &&FileEntry| {
            (self.hidden || !entry.name.starts_with('.')) && entry.name.to_lowercase().contains(&word)
        };
        self.entries.iter().filter(is_shown).collect()
    }
}

impl Text {
    /// A manifest or draft as JSON, readable.
    pub fn json(title: String, value: &impl serde::Serialize) -> Self {
        let body = serde_json::to_string_pretty(value).unwrap_or_else(|error| error.to_string());
        Self { title, body, ..Self::default() }
    }
}

impl Layer {
    /// Its sections of the key file, the most particular first, and whether keys are text in it.
    pub fn contexts(&self) -> (Vec<&'static str>, bool) {
        match self {
            _ if self.find().is_some_and(|find| find.typing) => (vec!["find"], true),
            Self::Detail(detail) => (vec![detail.context(), "detail", "global"], false),
            Self::Submit(_) => (vec!["form", "task-form"], true),
            Self::Connect(_) | Self::Guild(_) => (vec!["form"], true),
            // A question is answered before anything else is done.
            Self::Confirm(_) => (vec!["confirm"], true),
            Self::Palette(_) => (vec!["palette"], true),
            Self::Help(_) => (vec!["help", "global"], false),
            Self::Text(_) | Self::Facts(_) => (vec!["text", "global"], false),
            Self::Themes(_) => (vec!["picker"], true),
            Self::Files(_) => (vec!["files"], true),
        }
    }

    /// Whether another one over it would only be the same again.
    pub fn says_the_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Detail(a), Self::Detail(b)) => a.subject == b.subject,
            (Self::Confirm(a), Self::Confirm(b)) => a.what == b.what,
            (Self::Facts(a), Self::Facts(b)) => a.title == b.title,
            (Self::Text(a), Self::Text(b)) => a.title == b.title,
            (Self::Help(_), Self::Help(_)) => true,
            _ => false,
        }
    }

    /// The input that typed text goes into.
    pub fn input(&mut self) -> Option<&mut Input> {
        if self.find().is_some_and(|find| find.typing) {
            return self.find_mut().map(|find| &mut find.input);
        }
        match self {
            Self::Submit(form) => form.input(),
            Self::Connect(form) => Some(&mut form.address),
            Self::Guild(form) => form.input(),
            Self::Palette(palette) => Some(&mut palette.input),
            _ => None,
        }
    }

    /// What is looked for in it, where that can be.
    pub fn find(&self) -> Option<&Find> {
        match self {
            Self::Detail(detail) => Some(&detail.find),
            Self::Text(text) => Some(&text.find),
            Self::Facts(facts) => Some(&facts.find),
            Self::Files(files) => Some(&files.find),
            _ => None,
        }
    }

    /// The same, to change it.
    pub fn find_mut(&mut self) -> Option<&mut Find> {
        match self {
            Self::Detail(detail) => Some(&mut detail.find),
            Self::Text(text) => Some(&mut text.find),
            Self::Facts(facts) => Some(&mut facts.find),
            Self::Files(files) => Some(&mut files.find),
            _ => None,
        }
    }

    /// The ticket of what a form has asked the node, which has not answered yet.
    pub fn asked(&self) -> Option<u64> {
        match self {
            Self::Submit(form) => form.waiting,
            Self::Guild(form) => form.waiting,
            _ => None,
        }
    }

    /// The node has refused what a form asked: it says so, and can be sent again.
    pub fn refuse(&mut self, why: &str) {
        let why = Some(Untrusted::new(why).to_string());
        match self {
            Self::Submit(form) => (form.waiting, form.refused) = (None, why),
            Self::Guild(form) => (form.waiting, form.refused) = (None, why),
            _ => {}
        }
    }

    /// How far it is scrolled, where it scrolls.
    pub fn scroll(&mut self) -> Option<&mut usize> {
        match self {
            Self::Detail(detail) => Some(&mut detail.scroll),
            Self::Help(help) => Some(&mut help.scroll),
            Self::Text(text) => Some(&mut text.scroll),
            Self::Facts(facts) => Some(&mut facts.scroll),
            Self::Confirm(question) => Some(&mut question.scroll),
            _ => None,
        }
    }
}

/// Where the module of a draft is read from: beside the manifest, unless it is in the store already.
pub fn module_of(draft: &Draft, manifest: &std::path::Path) -> Option<std::path::PathBuf> {
    match &draft.artifact {
        zerostate::document::ArtifactSource::Path(path) => {
            Some(manifest.parent().map_or_else(|| path.clone(), |folder| folder.join(path)))
        }
        zerostate::document::ArtifactSource::Cid { .. } => None,
    }
}
