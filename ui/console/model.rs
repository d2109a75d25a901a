//! What the console knows: the node's last snapshot, and where the operator is in it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use tui_input::Input;
use zerostate::api::{LogLine, Snapshot};
use zerostate::document::Untrusted;
use zerostate::identity::Did;

use super::action::Action;
use super::chord::Chord;
use super::common::Common;
use super::keymap::{Binding, Keymap};
use super::layers::Layer;
use super::msg::Msg;
use super::names::Names;
use super::older::Older;
use super::pending::{Pending, Purpose, Round};
use super::rates::Rates;
use super::rows::{Changes, Rows};
use super::theme::Theme;

/// The eight panes, in the order of their keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pane {
    Peers,
    Guilds,
    Tasks,
    Receipts,
    Attestations,
    Events,
    Inbox,
    Log,
}

impl Pane {
    pub const ALL: [Self; 8] = [
        Self::Peers,
        Self::Guilds,
        Self::Tasks,
        Self::Receipts,
        Self::Attestations,
        Self::Events,
        Self::Inbox,
        Self::Log,
    ];

    /// The key that goes there.
    pub fn number(self) -> usize {
        Self::ALL.iter().position(|pane| *pane == self).unwrap_or(0) + 1
    }

    /// As tabs and titles say it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Peers => "Peers",
            Self::Guilds => "Guilds",
            Self::Tasks => "Tasks",
            Self::Receipts => "Receipts",
            Self::Attestations => "Attestations",
            Self::Events => "Events",
            Self::Inbox => "Inbox",
            Self::Log => "Log",
        }
    }

    /// Its section of the key file.
    pub fn context(self) -> &'static str {
        match self {
            Self::Peers => "peers",
            Self::Guilds => "guilds",
            Self::Tasks => "tasks",
            Self::Receipts => "receipts",
            Self::Attestations => "attestations",
            Self::Events => "events",
            Self::Inbox => "inbox",
            Self::Log => "log",
        }
    }

    /// Whether the newest stands at the end, unless one wants another order.
    pub fn newest_last(self) -> bool {
        matches!(self, Self::Events | Self::Log)
    }

    /// Whether it shares the place at the bottom of a wide screen.
    pub fn at_bottom(self) -> bool {
        matches!(self, Self::Events | Self::Inbox | Self::Log)
    }

    /// The next or the previous one, around the end.
    pub fn step(self, forward: bool) -> Self {
        let by = if forward { 0 } else { Self::ALL.len() - 2 };
        Self::ALL.get((self.number() + by) % Self::ALL.len()).copied().unwrap_or(self)
    }
}

/// Where one is in a pane's list.
#[derive(Debug, Clone, Default)]
pub struct List {
    /// The id of the selected row; `None` sticks to the newest, whatever moves.
    pub selected: Option<String>,
    /// Where the selected row was last, for when it goes away.
    pub index: usize,
    /// The first row that is shown.
    pub top: usize,
    pub filter: String,
    /// Which of the pane's columns it is ordered by, and whether the other way round.
    pub sort: usize,
    pub reversed: bool,
    pub marked: BTreeSet<String>,
}

/// A sentence in the corner that goes away by itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Toast {
    pub number: u64,
    pub tone: Tone,
    pub text: String,
    pub until: Timestamp,
}

/// How a toast is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Info,
    Good,
    /// What was asked for was not done, though nothing is wrong.
    Undone,
    Bad,
}

/// What does not change while the console runs.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub badge: Option<String>,
    pub ascii: bool,
    pub stop_node_on_quit: bool,
    /// What the submit form starts with.
    pub example: Option<String>,
    /// The working directory, which paths begin from.
    pub cwd: String,
    /// Paths and versions, for those who ask.
    pub info: Vec<(String, String)>,
    /// So many entries has the journal that is replayed.
    pub replay: Option<usize>,
}

/// Everything that `view` draws and `update` changes.
pub struct Model {
    pub settings: Settings,
    pub theme: Theme,
    /// All there are to choose from.
    pub themes: Vec<Theme>,
    pub keymap: Keymap,
    pub zone: TimeZone,
    /// Columns and rows of the terminal.
    pub size: (u16, u16),
    /// The time; of a journal that is replayed, the time it was then.
    pub now: Timestamp,
    /// The time it is here.
    pub clock: Timestamp,
    /// What is shown.
    pub snapshot: Option<Arc<Snapshot>>,
    /// Raised with every snapshot.
    pub revision: u64,
    changes: [Changes; Pane::ALL.len()],
    rows: [Rows; Pane::ALL.len()],
    pub names: Names,
    pub common: Common,
    /// What would be shown if it were not frozen, and since when it is.
    pub frozen: Option<(Arc<Snapshot>, Timestamp)>,
    /// Since when the node does not answer.
    pub gone: Option<Timestamp>,
    /// Ids and addresses are masked.
    pub private: bool,
    /// The mouse is reported here.
    pub mouse: bool,
    /// How many entries of a replayed journal are shown, and whether it runs.
    pub replayed: usize,
    pub playing: bool,
    pub rates: Rates,
    pub older: Older,
    /// A second has just gone by: what is not done with every message is due.
    pub ticked: bool,
    /// Rows are being looked through, with every message some more.
    pub unfinished: bool,
    pub focus: Pane,
    /// Which of Events, Inbox and Log is at the bottom of a wide screen.
    pub bottom: Pane,
    pub zoomed: bool,
    lists: HashMap<Pane, List>,
    pub layers: Vec<Layer>,
    /// The filter that is being typed for the focused pane.
    pub filtering: Option<Input>,
    /// The beginning of a key sequence.
    pub prefix: Vec<Chord>,
    pub toasts: Vec<Toast>,
    toasts_so_far: u64,
    pub pending: Vec<Pending>,
    pub next_ticket: u64,
    /// What the operator has done so far: keys, clicks, lines.
    pub inputs: u64,
    /// Receipts that were run again, of which the operator has not been asked yet whether to sign.
    pub parked: Option<Round>,
    /// What the console itself has to say in the log.
    pub notices: Vec<LogLine>,
    /// Lines of the log from this level on are shown, by `Entry::level`; all of them at 0.
    pub log_level: usize,
    pub interrupted: Option<Timestamp>,
}

/// More at once would hide what is below them.
const TOASTS_MAX: usize = 4;
/// Notices are few: faults of the key file and the theme, errors of commands.
const NOTICES_MAX: usize = 100;

impl Model {
    /// A console that has seen nothing yet.
    pub fn new(settings: Settings, theme: Theme, keymap: Keymap, zone: TimeZone, now: Timestamp) -> Self {
        Self {
            replayed: settings.replay.unwrap_or_default(),
            playing: false,
            gone: None,
            private: false,
            mouse: false,
            settings,
            themes: vec![theme.clone()],
            theme,
            keymap,
            zone,
            size: (80, 24),
            now,
            clock: now,
            snapshot: None,
            revision: 0,
            changes: Default::default(),
            rows: Default::default(),
            names: Names::default(),
            common: Common::default(),
            log_level: 0,
            frozen: None,
            rates: Rates::default(),
            older: Older::default(),
            ticked: false,
            unfinished: false,
            focus: Pane::Tasks,
            bottom: Pane::Events,
            zoomed: false,
            lists: Pane::ALL.into_iter().map(|pane| (pane, List::default())).collect(),
            layers: Vec::new(),
            filtering: None,
            prefix: Vec::new(),
            toasts: Vec::new(),
            toasts_so_far: 0,
            pending: Vec::new(),
            next_ticket: 1,
            inputs: 0,
            parked: None,
            notices: Vec::new(),
            interrupted: None,
        }
    }

    /// The list of a pane.
    pub fn list(&self, pane: Pane) -> &List {
        static NOTHING: List = List {
            selected: None,
            index: 0,
            top: 0,
            filter: String::new(),
            sort: 0,
            reversed: false,
            marked: BTreeSet::new(),
        };
        self.lists.get(&pane).unwrap_or(&NOTHING)
    }

    /// The list of a pane, to change.
    pub fn list_mut(&mut self, pane: Pane) -> &mut List {
        self.lists.entry(pane).or_default()
    }

    /// Whether one follows what comes at the end of a pane's list.
    pub fn follows(&self, pane: Pane) -> bool {
        let list = self.list(pane);
        pane.newest_last() && list.sort == 0 && !list.reversed
    }

    /// The rows of a pane, as they were last worked out.
    pub fn rows(&self, pane: Pane) -> &Rows {
        let [first, ..] = &self.rows;
        // There is one for every pane.
        self.rows.get(pane.number() - 1).unwrap_or(first)
    }

    /// Takes the rows of a pane, to change them and give them back.
    pub fn take_rows(&mut self, pane: Pane) -> Rows {
        self.rows.get_mut(pane.number() - 1).map(std::mem::take).unwrap_or_default()
    }

    /// Keeps the rows of a pane that were worked out.
    pub fn set_rows(&mut self, pane: Pane, rows: Rows) {
        if let Some(place) = self.rows.get_mut(pane.number() - 1) {
            *place = rows;
        }
    }

    /// How the rows of a pane have changed so far.
    pub fn changes(&self, pane: Pane) -> Changes {
        self.changes.get(pane.number() - 1).copied().unwrap_or_default()
    }

    /// The rows of a pane are others now.
    pub fn rows_changed(&mut self, pane: Pane) {
        self.change(pane, |changes| changes.others += 1);
    }

    /// Some rows came before all the others of a pane.
    pub fn rows_came(&mut self, pane: Pane, count: usize) {
        self.change(pane, |changes| changes.came += u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// Older rows of a pane were fetched.
    pub fn rows_grew(&mut self, pane: Pane) {
        self.change(pane, |changes| changes.grown += 1);
    }

    fn change(&mut self, pane: Pane, how: impl FnOnce(&mut Changes)) {
        if let Some(changes) = self.changes.get_mut(pane.number() - 1) {
            how(changes);
        }
    }

    /// Goes to a pane.
    pub fn focus_on(&mut self, pane: Pane) {
        self.focus = pane;
        if pane.at_bottom() {
            self.bottom = pane;
        }
    }

    /// This node's own DID, once it is known.
    pub fn me(&self) -> Option<&Did> {
        self.snapshot.as_ref().map(|snapshot| &snapshot.node.did)
    }

    /// Who that is to the operator: `you`, the name on the agent card, or the short DID. Nobody else can be called `you`.
    pub fn name_of(&self, did: &Did) -> String {
        if self.me() == Some(did) {
            return "you".to_owned();
        }
        self.names.of(did).map_or_else(|| did.short(), str::to_owned)
    }

    /// Says something in the corner for a few seconds; what is bad stays longer and goes into the log as well.
    pub fn toast(&mut self, tone: Tone, text: impl AsRef<str>) {
        let text = Untrusted::new(text.as_ref()).to_string();
        let stays = SignedDuration::from_secs(if tone == Tone::Bad { 10 } else { 5 });
        let until = self.clock.checked_add(stays).unwrap_or(self.clock);
        if tone == Tone::Bad {
            self.note("WARN", &text);
        }
        self.toasts.retain(|toast| toast.text != text);
        self.toasts_so_far += 1;
        self.toasts.push(Toast { number: self.toasts_so_far, tone, text, until });
        if self.toasts.len() > TOASTS_MAX {
            self.toasts.remove(0);
        }
    }

    /// Puts a line of the console's own into the log pane.
    pub fn note(&mut self, level: &str, text: &str) {
        let (level, target) = (level.to_owned(), "console".to_owned());
        self.notices.push(LogLine { at: self.now, level, target, text: Untrusted::new(text) });
        if self.notices.len() > NOTICES_MAX {
            self.notices.remove(0);
        }
        self.rows_changed(Pane::Log);
    }

    /// The time by which a row tells its age: when it was so many seconds past a minute last.
    pub fn now_at(&self, second: i64) -> Timestamp {
        let late = self.now.as_second().saturating_sub(second).rem_euclid(60);
        self.now.checked_sub(SignedDuration::from_secs(late)).unwrap_or(self.now)
    }

    /// Whether that is a further page of a list.
    pub fn is_page(&self, msg: &Msg) -> bool {
        let Msg::Answered { ticket, .. } = msg else { return false };
        let asked = self.pending.iter().find(|pending| pending.ticket == *ticket);
        asked.is_some_and(|pending| matches!(pending.purpose, Purpose::Page(_)))
    }

    /// Whether an action makes sense here: a journal has no node that could do anything.
    pub fn offers(&self, action: Action) -> bool {
        self.settings.replay.is_none() || !action.needs_a_node()
    }

    /// The first keys that lead to an action in these sections, as this terminal can show them; none where no key does.
    pub fn key_of(&self, contexts: &[&str], action: Action) -> String {
        let binding = self.keymap.binding_of(contexts, action);
        binding.map_or_else(String::new, |binding| self.keys_text(binding))
    }

    /// The keys of a binding as this terminal can show them.
    pub fn keys_text(&self, binding: &Binding) -> String {
        let text = binding.keys_text();
        if !self.settings.ascii {
            return text;
        }
        [("↵", "Enter"), ("↑", "Up"), ("↓", "Down"), ("←", "Left"), ("→", "Right")]
            .into_iter()
            .fold(text, |text, (glyph, word)| text.replace(glyph, word))
    }

    /// The sections of the key file that count now, the most particular first; and whether keys are text here.
    pub fn contexts(&self) -> (Vec<&'static str>, bool) {
        let (mut contexts, typing) = match self.layers.last() {
            Some(layer) => layer.contexts(),
            None if self.filtering.is_some() => (vec!["filter"], true),
            None => (vec![self.focus.context(), "list", "global"], false),
        };
        if self.settings.replay.is_some() && !typing {
            contexts.insert(0, "replay");
        }
        (contexts, typing)
    }
}
