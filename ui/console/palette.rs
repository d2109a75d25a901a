//! The command palette: every action that makes sense by name, found by a few of its letters.

use nucleo_matcher::pattern::{AtomKind, CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};

use super::action::Action;
use super::layers::Palette;

/// An action that matches, best first, with the places of the letters that matched in its name.
#[derive(Debug, PartialEq)]
pub struct Found {
    pub action: Action,
    pub letters: Vec<u32>,
}

/// The name counts so much more than the sentence.
const BY_NAME: u32 = 1_000;

impl Palette {
    /// The name that is looked for, and the words after it.
    pub fn parts(&self) -> (&str, &str) {
        let text = self.input.value().trim_start();
        text.split_once(' ').map_or((text, ""), |(name, rest)| (name, rest.trim()))
    }

    /// The actions that match what was typed.
    pub fn found(&self) -> Vec<Found> {
        let (name, rest) = self.parts();
        let offered = |action: &Action| action.in_palette() && !(self.replay && action.needs_a_node());
        // "connect /ip4/…" is the action with its word; "attest marked" looks for both words.
        let named = Action::named(name).filter(|action| !rest.is_empty() && offered(action));
        if let Some(action) = named.filter(|action| action.takes_argument()) {
            return vec![Found { action, letters: Vec::new() }];
        }
        let pattern = Pattern::new(
            self.input.value().trim(),
            CaseMatching::Ignore,
            Normalization::Smart,
            AtomKind::Fuzzy,
        );
        let mut matcher = Matcher::new(Config::DEFAULT);
        let mut buffer = Vec::new();
        let mut found: Vec<(u32, Found)> = Vec::new();
        let offered = Action::ALL.iter().copied().filter(offered);
        // What is there to try things out is offered only to those who ask for it.
        for action in offered.filter(|action| *action != Action::DebugPanic || name.starts_with("debug")) {
            let mut letters = Vec::new();
            let by_name =
                pattern.indices(Utf32Str::new(action.name(), &mut buffer), &mut matcher, &mut letters);
            let by_about = pattern.score(Utf32Str::new(action.about(), &mut buffer), &mut matcher);
            // The name counts before the sentence.
            let Some(score) = by_name.map(|score| score + BY_NAME).or(by_about) else { continue };
            if by_name.is_none() {
                letters.clear();
            }
            found.push((score, Found { action, letters }));
        }
        // What has these letters somewhere in its sentence is not meant by who writes a name out.
        if let Some(action) = named
            && found.iter().all(|(score, _)| *score < BY_NAME)
        {
            return vec![Found { action, letters: Vec::new() }];
        }
        found.sort_by_key(|entry| std::cmp::Reverse(entry.0));
        found.into_iter().map(|(_, found)| found).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tui_input::Input;

    fn first(text: &str) -> Option<Action> {
        let palette = Palette { input: Input::new(text.to_owned()), ..Palette::default() };
        palette.found().first().map(|found| found.action)
    }

    #[test]
    fn a_few_letters_find_an_action_by_its_name_or_by_what_it_does() {
        assert_eq!(first("sub"), Some(Action::Submit));
        assert_eq!(first("att"), Some(Action::Attest));
        assert_eq!(first("connect /ip4/127.0.0.1/tcp/4001"), Some(Action::Connect));
        assert_eq!(first("clipboard zzz"), None);
        assert_eq!(first("attest marked"), Some(Action::AttestMarked));
        assert_eq!(first("attest it"), Some(Action::Attest), "not what has these letters somewhere");
        assert_ne!(first(""), Some(Action::DebugPanic));
        assert_eq!(first("debug.panic"), Some(Action::DebugPanic));
    }
}
