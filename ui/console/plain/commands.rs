//! What a typed line does.

use jiff::Timestamp;

use super::spoken::row;
use super::telling::summary;
use super::{Next, Plain};
use crate::console::action::Action;
use crate::console::layers::Layer;
use crate::console::model::Pane;
use crate::console::msg::Msg;
use crate::console::panes::{Entry, total};
use crate::console::rows::Listing;

/// Rows that are told at once.
const ROWS: usize = 20;
const HELP: &str = "\
peers, guilds, tasks, receipts, attestations, events, inbox, log: tell that list; each row has a number.
more: the next rows. filter WORDS: only those rows; filter alone: all. sort, sort.reverse: another order.
NUMBER: open that row. select NUMBER: choose it. mark NUMBER: mark it, for what is done to many.
show: what is open, again. back: close what is open. status: how the node is.
submit FILE, attest, attest.marked, cancel, connect ADDRESS, guild.new, guild.join PLACE, guild.say, guild.submit FILE, guild.invite, guild.leave, accept, refuse, why, manifest, output, \
compare, bundle, info: what the console does, for the row that is open or chosen. The names are those of its palette; actions: all of them.
In a form: a line goes into the field that is asked for, an empty one leaves it as it is, = empties it, = WORDS is WORDS even where they \
are a command; submit sends the form, previous goes back a field, edit opens the editor, back leaves.
A question is answered with yes or no.
quiet, loud: do not tell, or tell, what happens. quit: close what is open; then leave.";

impl Plain {
    pub(super) async fn command(&mut self, text: &str) -> anyhow::Result<Next> {
        if let Some(layer) = self.model.layers.last_mut() {
            let asks = matches!(layer, Layer::Confirm(_));
            let form = layer.input().is_some();
            match (text, asks, form) {
                ("yes" | "y", true, _) => return self.act(Action::Yes, "").await,
                ("no" | "n", true, _) => return self.act(Action::No, "").await,
                (_, true, _) if text != "show" => {
                    self.refuse("Question open: type yes or no.");
                    return Ok(Next::GoOn);
                }
                ("submit", _, true) => return self.act(Action::FormSubmit, "").await,
                ("back" | "show" | "quit" | "help", ..) => {}
                ("previous", _, true) => return self.act(Action::FieldPrevious, "").await,
                ("edit", _, true) => return self.act(Action::Edit, "").await,
                (_, _, true) => {
                    // `= text` is that text, whatever it says; `=` alone empties the field.
                    let value = text.strip_prefix('=').map(str::trim_start);
                    if let Some(value) = value.or(Some(text).filter(|text| !text.is_empty())) {
                        self.apply(Msg::Fill(value.to_owned())).await?;
                    }
                    return self.act(Action::FieldNext, "").await;
                }
                _ => {}
            }
        }
        let (word, rest) = text.split_once(' ').map_or((text, ""), |(word, rest)| (word, rest.trim()));
        match (word, rest.parse::<usize>()) {
            ("", _) => {}
            ("help", _) => self.say(HELP),
            ("actions", _) => {
                for action in Action::ALL.iter().copied() {
                    if action.in_palette() && action != Action::DebugPanic && self.model.offers(action) {
                        self.say(&format!("{}: {}", action.name(), action.about()));
                    }
                }
            }
            ("quiet", _) => self.loud = false,
            ("loud", _) => self.loud = true,
            ("status", _) => self.status(),
            ("show", _) => {
                self.told.again();
                self.tell();
            }
            ("back", _) => return self.act(Action::Back, "").await,
            ("more", _) => self.list(false),
            ("select" | "mark", Ok(number)) => {
                if !self.select(number).await? {
                    return Ok(Next::GoOn);
                }
                let told = self.selected_row();
                if word == "mark" {
                    self.act(Action::Mark, "").await?;
                }
                let marked = self.model.list(self.model.focus).marked.len();
                self.say(&format!(
                    "Row {number} is {}: {told}. Marked: {marked}.",
                    if word == "mark" { "marked or no longer" } else { "chosen" }
                ));
            }
            ("filter", _) => {
                let focus = self.model.focus;
                self.model.list_mut(focus).filter = rest.to_owned();
                self.model.layers.clear();
                self.listing = true;
                self.apply(Msg::Tick(Timestamp::now())).await?;
                if self.listing {
                    self.say("Looking through all that there is.");
                }
            }
            _ => return self.other(word, rest).await,
        }
        Ok(Next::GoOn)
    }

    /// A pane, a row by its number, or an action by its name.
    async fn other(&mut self, word: &str, rest: &str) -> anyhow::Result<Next> {
        if let Some(pane) = Pane::ALL.into_iter().find(|pane| pane.context() == word) {
            self.model.layers.clear();
            self.listing = false;
            self.model.focus_on(pane);
            self.apply(Msg::Tick(Timestamp::now())).await?;
            self.list(true);
            return Ok(Next::GoOn);
        }
        if let Ok(number) = word.parse::<usize>() {
            self.model.layers.clear();
            return if self.select(number).await? {
                self.act(Action::Open, "").await
            } else {
                Ok(Next::GoOn)
            };
        }
        match Action::named(word).filter(|action| action.in_palette()) {
            Some(Action::Sort | Action::SortReverse) => {
                self.act(if word == "sort" { Action::Sort } else { Action::SortReverse }, "").await?;
                self.list(true);
                Ok(Next::GoOn)
            }
            Some(action) => self.act(action, rest).await,
            None => {
                self.refuse(&format!("No such command: {word}. help lists them."));
                Ok(Next::GoOn)
            }
        }
    }

    async fn act(&mut self, action: Action, argument: &str) -> anyhow::Result<Next> {
        self.apply(Msg::Act(action, argument.to_owned())).await
    }

    async fn select(&mut self, number: usize) -> anyhow::Result<bool> {
        let pane = self.model.focus;
        let untold = self.rows.1.is_empty() && Listing::of(&self.model, pane).len() > 0;
        if self.rows.0 != pane || untold {
            self.list(true);
        }
        let count = self.rows.1.len();
        let Some(id) = number.checked_sub(1).and_then(|at| self.rows.1.get(at)).cloned() else {
            self.refuse(&format!("No row {number}: of {}, {count} were told.", pane.title()));
            return Ok(false);
        };
        let Some(place) = Listing::of(&self.model, pane).place_of(&id) else {
            self.refuse(&format!(
                "Row {number} is not there any more; {} tells those that are.",
                pane.context()
            ));
            return Ok(false);
        };
        self.apply(Msg::Select(place)).await?;
        Ok(true)
    }

    /// What the selected row says.
    fn selected_row(&self) -> String {
        let rows = Listing::of(&self.model, self.model.focus);
        let selected = rows.selected().and_then(|at| rows.get(at));
        selected.map(|entry| row(&entry, &self.model)).unwrap_or_default()
    }

    /// Tells the rows of the focused pane, from the beginning or from where it stopped.
    pub(super) fn list(&mut self, anew: bool) {
        let pane = self.model.focus;
        if anew || self.rows.0 != pane {
            self.rows = (pane, Vec::new());
        }
        let rows = Listing::of(&self.model, pane);
        let told_before = self.rows.1.len();
        // Behind the last one that was told, wherever it is by now.
        let from = self.rows.1.last().map_or(0, |id| rows.place_of(id).map_or(told_before, |at| at + 1));
        let all = self.model.snapshot.as_deref().map_or(0, |snapshot| total(snapshot, pane));
        let mut lines = Vec::new();
        if anew {
            let filter = match self.model.list(pane).filter.as_str() {
                "" => String::new(),
                filter => format!(", of which {} match {filter}", rows.len()),
            };
            lines.push(format!("{}: {all}{filter}.", pane.title()));
        }
        let told: Vec<(usize, Entry)> = rows.from(from).take(ROWS).collect();
        let numbered = told.iter().enumerate();
        lines.extend(
            numbered.map(|(i, (_, entry))| format!("{}. {}", told_before + i + 1, row(entry, &self.model))),
        );
        let left = rows.len().saturating_sub(from + told.len());
        let ids: Vec<String> = told.iter().map(|(_, entry)| entry.id()).collect();
        if left > 0 {
            lines.push(format!("{left} more; more tells them."));
        }
        self.rows.1.extend(ids);
        for line in lines {
            self.say(&line);
        }
    }

    pub(super) fn status(&mut self) {
        let Some(snapshot) = self.model.snapshot.as_deref() else { return self.say("Node: starting.") };
        self.say(&summary(snapshot))
    }
}
