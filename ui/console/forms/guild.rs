//! The forms about guilds: a new one, one to join, a line to say in one. Each stays until the node has answered, and shows why it
//! refused.

use tui_input::Input;
use zerostate::api::GuildCommand;
use zerostate::config::Admit;
use zerostate::document::{Untrusted, parse_duration};

/// What the node takes in one line; it has the last word.
const SAID_MAX: usize = 4096;
const NAME_MAX: usize = 64;

/// What the form is for.
#[derive(Debug, Clone, PartialEq)]
pub enum About {
    New,
    Join,
    Say { guild_id: String, name: Untrusted },
}

/// A line of the form.
#[derive(Debug)]
pub struct Line {
    pub label: &'static str,
    /// What stands there while nothing does.
    pub hint: &'static str,
    /// What stood there first.
    pub before: String,
    pub input: Input,
}

/// The form.
#[derive(Debug)]
pub struct GuildForm {
    pub about: About,
    pub lines: Vec<Line>,
    pub focus: usize,
    pub changed: bool,
    /// Shown once one has tried to submit.
    pub tried: bool,
    /// The ticket of what the node has not answered yet.
    pub waiting: Option<u64>,
    /// Why the node refused it.
    pub refused: Option<String>,
}

impl GuildForm {
    fn with(about: About, lines: &[(&'static str, &'static str, &str)]) -> Self {
        let line = |(label, hint, text): &(&'static str, &'static str, &str)| Line {
            label,
            hint,
            before: (*text).to_owned(),
            input: Input::new((*text).to_owned()),
        };
        let lines = lines.iter().map(line).collect();
        Self { about, lines, focus: 0, changed: false, tried: false, waiting: None, refused: None }
    }

    /// A new guild.
    pub fn found() -> Self {
        let lines = [
            ("name", "what the guild is called", ""),
            ("lasts", "from a second to a week, like 1h", "1h"),
            ("members", "at once, you among them; 256 at most", "50"),
            ("admit", "open, ask or invite", "ask"),
        ];
        Self::with(About::New, &lines)
    }

    /// A guild to join.
    pub fn join(place: &str) -> Self {
        let lines = [
            ("guild", "its id, or an invitation: zsguild1.…", place),
            ("role", "executor, member or observer", "member"),
        ];
        Self::with(About::Join, &lines)
    }

    /// Something to say.
    pub fn say(guild_id: String, name: Untrusted) -> Self {
        Self::with(About::Say { guild_id, name }, &[("say", "to everybody in the guild", "")])
    }

    /// What it is called.
    pub fn title(&self) -> String {
        match &self.about {
            About::New => "New guild".to_owned(),
            About::Join => "Join a guild".to_owned(),
            About::Say { name, .. } => format!("Say in {name}"),
        }
    }

    /// The line that is typed into; none while the node is asked.
    pub fn input(&mut self) -> Option<&mut Input> {
        let free = self.waiting.is_none();
        self.lines.get_mut(self.focus).map(|line| &mut line.input).filter(|_| free)
    }

    /// Something was typed.
    pub fn typed(&mut self) {
        self.changed = self.lines.iter().any(|line| line.input.value() != line.before);
        self.refused = None;
    }

    /// The next or the previous line, around the end.
    pub fn step(&mut self, forward: bool) {
        let n = self.lines.len().max(1);
        self.focus = (self.focus + if forward { 1 } else { n - 1 }) % n;
    }

    /// Whether Enter submits here.
    pub fn is_at_the_end(&self) -> bool {
        self.focus + 1 == self.lines.len()
    }

    fn text(&self, at: usize) -> &str {
        self.lines.get(at).map_or("", |line| line.input.value().trim())
    }

    /// What is wrong with a line.
    pub fn problem(&self, at: usize) -> Option<&'static str> {
        let (line, text) = (self.lines.get(at)?, self.text(at));
        if text.is_empty() {
            return self.tried.then_some("something has to stand here");
        }
        match line.label {
            "name" if text.len() > NAME_MAX => Some("at most 64 bytes"),
            "lasts" if lasts(text).is_none() => Some("expected a duration like 90s, 30m or 1h"),
            "members" if text.parse::<u32>().is_ok_and(|count| (1..=256).contains(&count)) => None,
            "members" => Some("expected a number from 1 to 256"),
            "admit" if admit(text).is_none() => {
                Some("open lets anybody in, ask asks you, invite takes those with an invitation")
            }
            "guild" if text.contains(char::is_whitespace) => Some("an id or an invitation has no spaces"),
            "role" if !["executor", "member", "observer"].contains(&text) => {
                Some("expected executor, member or observer")
            }
            "say" if text.len() > SAID_MAX => Some("at most 4,096 bytes"),
            _ => None,
        }
    }

    /// What is asked of the node, when it can be.
    pub fn command(&self) -> Option<GuildCommand> {
        let wrong = (0..self.lines.len()).any(|at| self.text(at).is_empty() || self.problem(at).is_some());
        if wrong || self.waiting.is_some() {
            return None;
        }
        let text = |at: usize| self.text(at).to_owned();
        Some(match &self.about {
            About::New => GuildCommand::Create {
                name: text(0),
                ttl_ms: lasts(self.text(1)),
                capacity: self.text(2).parse().ok(),
                admit: admit(self.text(3)),
            },
            About::Join => GuildCommand::Join { place: text(0), role: text(1) },
            About::Say { guild_id, .. } => GuildCommand::Say { guild_id: guild_id.clone(), text: text(0) },
        })
    }

    /// It was said; there may be more to say.
    pub fn clear(&mut self) {
        self.waiting = None;
        self.changed = false;
        self.tried = false;
        for line in &mut self.lines {
            line.before = String::new();
            line.input = Input::default();
        }
    }
}

fn lasts(text: &str) -> Option<u64> {
    parse_duration(text).and_then(|time| u64::try_from(time.as_millis()).ok())
}

fn admit(text: &str) -> Option<Admit> {
    match text {
        "open" => Some(Admit::Open),
        "ask" => Some(Admit::Ask),
        "invite" => Some(Admit::Invite),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(form: &mut GuildForm, at: usize, text: &str) {
        form.lines[at].input = Input::new(text.to_owned());
    }

    #[test]
    fn a_new_guild_is_asked_for_when_every_line_is_right() {
        let mut form = GuildForm::found();
        assert!(form.command().is_none() && form.problem(0).is_none(), "no name, and nothing tried yet");
        form.tried = true;
        assert!(form.problem(0).is_some());
        typed(&mut form, 0, " nightly ");
        let command = form.command().unwrap();
        assert!(
            matches!(command, GuildCommand::Create { name, ttl_ms: Some(3_600_000), capacity: Some(50), admit: Some(Admit::Ask) } if name == "nightly")
        );
        for (at, wrong) in [(1, "soon"), (2, "257"), (2, "0"), (3, "nobody")] {
            let before = form.text(at).to_owned();
            typed(&mut form, at, wrong);
            assert!(form.problem(at).is_some() && form.command().is_none(), "{wrong}");
            typed(&mut form, at, &before);
        }
        form.waiting = Some(1);
        assert!(form.command().is_none() && form.input().is_none(), "it is asked once");
    }

    #[test]
    fn a_role_that_does_not_exist_is_seen_before_it_is_asked_for() {
        let mut form = GuildForm::join("bafkreigj3v7pdwvh5kphcfxaifuxlhf4sowtt67xizy7w45izzfs6vjkbm");
        assert!(matches!(form.command(), Some(GuildCommand::Join { role, .. }) if role == "member"));
        typed(&mut form, 1, "king");
        assert_eq!(form.problem(1), Some("expected executor, member or observer"));
    }
}
