//! What a filter line means. Words that all have to be there, separated by spaces:
//!
//! | | |
//! |---|---|
//! | `word` | somewhere in the row, in whatever case |
//! | `"two words"` | the same with a space in it |
//! | `~wrd` | its letters somewhere in one field, in this order |
//! | `field:word` | in that field; the fields of a pane are named in its help |
//! | `!word`, `!~wrd`, `!field:word` | not there |

use nucleo_matcher::pattern::{Atom, AtomKind, CaseMatching, Normalization};
use nucleo_matcher::{Config, Matcher, Utf32Str};

/// A filter line that was read. The empty one lets every row through.
#[derive(Debug, Default)]
pub struct Filter {
    terms: Vec<Term>,
}

#[derive(Debug, PartialEq)]
struct Term {
    inverse: bool,
    field: Option<&'static str>,
    what: What,
}

#[derive(Debug, PartialEq)]
enum What {
    /// In lower case.
    Part(String),
    /// Where both are ASCII, the letters in lower case do.
    Fuzzy { atom: Atom, letters: Option<Vec<u8>> },
}

/// What looks for letters has to work somewhere; one for all rows.
pub struct Search {
    matcher: Matcher,
    letters: Vec<char>,
}

impl Default for Search {
    fn default() -> Self {
        Self { matcher: Matcher::new(Config::DEFAULT), letters: Vec::new() }
    }
}

impl Filter {
    /// Reads a line for a pane with these fields. A word before a colon that names none of them is part of what is looked for.
    pub fn read(line: &str, fields: &[&'static str]) -> Self {
        Self { terms: words(line).into_iter().filter_map(|word| term(&word, fields)).collect() }
    }

    /// Whether it lets everything through.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether all that it lets through an earlier one has let through, too: a word went on, or there is another one.
    pub fn refines(&self, earlier: &Self) -> bool {
        let Some((last, kept)) = earlier.terms.split_last() else { return false };
        let same = self.terms.get(..kept.len()) == Some(kept);
        same && self.terms.get(kept.len()).is_some_and(|now| now.refines(last))
    }

    /// Whether it lets a row through. `fields` hands over the row's fields by name until one of them is said to be enough, and says
    /// whether one was.
    pub fn lets(
        &self,
        search: &mut Search,
        fields: impl Fn(&mut dyn FnMut(&'static str, &str) -> bool) -> bool,
    ) -> bool {
        self.terms.iter().all(|term| {
            let found = fields(&mut |name, text| {
                term.field.is_none_or(|field| field == name) && term.what.is_in(text, search)
            });
            found != term.inverse
        })
    }
}

impl Term {
    fn refines(&self, earlier: &Self) -> bool {
        if self == earlier {
            return true;
        }
        match (&self.what, &earlier.what) {
            (What::Part(now), What::Part(before)) => {
                !self.inverse && !earlier.inverse && self.field == earlier.field && now.contains(before)
            }
            _ => false,
        }
    }
}

/// The words of a line; quotes keep spaces, and one that is not closed yet goes on to the end.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => words.push(std::mem::take(&mut word)),
            c => word.push(c),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

/// The name before a colon in a filter line that may have been meant as a field's, and is none's.
pub fn unknown_field(line: &str, fields: &[&'static str]) -> Option<String> {
    words(line).into_iter().find_map(|word| {
        let (name, _) = word.trim_start_matches('!').split_once(':')?;
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase());
        let known = fields.iter().any(|field| field.starts_with(name));
        (is_name && !known && name != "did").then(|| name.to_owned())
    })
}

fn term(word: &str, fields: &[&'static str]) -> Option<Term> {
    let (rest, inverse) = word.strip_prefix('!').map_or((word, false), |rest| (rest, true));
    let named = rest.split_once(':').and_then(|(name, value)| {
        let name = name.to_lowercase();
        // A name may be cut, as long as it is clear whose it is.
        let mut meant = fields.iter().filter(|field| field.starts_with(&name) && !name.is_empty());
        match (fields.iter().find(|field| **field == name), meant.next(), meant.next()) {
            (Some(field), ..) | (None, Some(field), None) => Some((*field, value)),
            _ => None,
        }
    });
    let (field, value) = named.map_or((None, rest), |(field, value)| (Some(field), value));
    let what = match value.strip_prefix('~') {
        Some(letters) if !letters.is_empty() => What::Fuzzy {
            atom: Atom::new(letters, CaseMatching::Ignore, Normalization::Smart, AtomKind::Fuzzy, false),
            letters: letters.is_ascii().then(|| letters.to_ascii_lowercase().into_bytes()),
        },
        _ => What::Part(value.trim_start_matches('~').to_lowercase()),
    };
    // While one types, `!` and `field:` alone take nothing away.
    let nothing = matches!(&what, What::Part(part) if part.is_empty());
    (!nothing).then_some(Term { inverse, field, what })
}

impl What {
    fn is_in(&self, text: &str, search: &mut Search) -> bool {
        match self {
            Self::Part(part) if part.is_ascii() => contains(text.as_bytes(), part.as_bytes()),
            Self::Part(part) => text.to_lowercase().contains(part),
            Self::Fuzzy { letters: Some(letters), .. } if text.is_ascii() => {
                in_order(text.as_bytes(), letters)
            }
            Self::Fuzzy { atom, .. } => {
                atom.score(Utf32Str::new(text, &mut search.letters), &mut search.matcher).is_some()
            }
        }
    }
}

/// Whether `part`, which is in lower case, is in `text` in any case. A hundred thousand rows are looked through between two keys.
fn contains(text: &[u8], part: &[u8]) -> bool {
    let Some((first, _)) = part.split_first() else { return true };
    let Some(last) = text.len().checked_sub(part.len()) else { return false };
    let starts = text.get(..=last).unwrap_or_default();
    memchr::memchr2_iter(*first, first.to_ascii_uppercase(), starts)
        .any(|at| text.get(at..at + part.len()).is_some_and(|window| window.eq_ignore_ascii_case(part)))
}

/// Whether these letters, which are in lower case, stand in `text` one after the other with anything between them.
fn in_order(text: &[u8], letters: &[u8]) -> bool {
    let mut rest = text;
    letters.iter().all(|letter| {
        let at = memchr::memchr2(*letter, letter.to_ascii_uppercase(), rest);
        rest = at.and_then(|at| rest.get(at + 1..)).unwrap_or_default();
        at.is_some()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: [&str; 3] = ["name", "node", "id"];

    fn lets(line: &str) -> bool {
        let row = [("name", "Word Count"), ("node", "borealis"), ("id", "bafkreigh2akiscaildc:Ä")];
        Filter::read(line, &FIELDS)
            .lets(&mut Search::default(), |see| row.iter().any(|(name, text)| see(name, text)))
    }

    #[test]
    fn words_are_looked_for_in_every_field_and_all_have_to_be_there() {
        for (line, expected) in [
            ("", true),
            ("word", true),
            ("COUNT bor", true),
            ("word ceres", false),
            ("\"word count\"", true),
            ("\"count word\"", false),
            ("\"word c", true),
            ("ä", true),
            ("ildc:", true),
        ] {
            assert_eq!(lets(line), expected, "{line}");
        }
    }

    #[test]
    fn fields_inverse_and_fuzzy() {
        for (line, expected) in [
            ("name:word", true),
            ("na:word", true),
            ("n:word", false),
            ("name:borealis", false),
            ("node:BOR name:count", true),
            ("!ceres", true),
            ("!borealis", false),
            ("!name:borealis", true),
            ("~wct", true),
            ("wct", false),
            ("!~wct", false),
            ("node:~bls", true),
            ("name:~bls", false),
            // While it is still being typed.
            ("!", true),
            ("name:", true),
            ("~", true),
            // No such field: part of the word.
            ("where:bafk", false),
        ] {
            assert_eq!(lets(line), expected, "{line}");
        }
        assert_eq!(unknown_field("word !where:bafk", &FIELDS).as_deref(), Some("where"));
        assert_eq!(unknown_field("na:x did:key:z6Mk 12:30 \"a b:c\"", &FIELDS), None);
    }

    #[test]
    fn what_a_line_finds_is_among_what_its_beginning_found() {
        let refines =
            |line: &str, earlier: &str| Filter::read(line, &FIELDS).refines(&Filter::read(earlier, &FIELDS));
        for (line, earlier) in
            [("wo", "w"), ("w x", "w"), ("w !x", "w"), ("name:wo", "name:w"), ("!x y", "!x"), ("w ~ab", "w")]
        {
            assert!(refines(line, earlier), "{line} after {earlier}");
        }
        for (line, earlier) in
            [("!xy", "!x"), ("name:w", "w"), ("w", "wo"), ("w", ""), ("x", "w"), ("~ab", "~a")]
        {
            assert!(!refines(line, earlier), "{line} after {earlier}");
        }
    }

    #[test]
    fn parts_are_found_wherever_they_stand() {
        assert!(contains(b"xABc", b"abc") && contains(b"abc", b"abc") && contains(b"aab", b"ab"));
        assert!(in_order(b"Word Count", b"wct") && in_order(b"aab", b"ab") && !in_order(b"ab", b"aba"));
        assert!(!contains(b"ab", b"abc") && !contains(b"", b"a") && contains(b"", b""));
    }
}
