//! Text from strangers: nothing in it may steer a terminal or hide.

use proptest::prelude::*;
use zerostate::document::Untrusted;

/// Written down here a second time on purpose, by what these characters do (Unicode 16: Bidi_Control, the joiners and
/// fillers of Default_Ignorable_Code_Point, variation selectors, tags, line and paragraph separators).
fn steers_or_hides(c: char) -> bool {
    let bidi =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let zero_width = matches!(c, '\u{ad}' | '\u{34f}' | '\u{180e}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}' | '\u{feff}');
    let filler = matches!(c, '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}');
    let selector = matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{180b}'..='\u{180d}' | '\u{e0100}'..='\u{e01ef}');
    let tag = matches!(c, '\u{e0000}'..='\u{e007f}');
    let line = matches!(c, '\u{2028}' | '\u{2029}');
    c.is_control() || bidi || zero_width || filler || selector || tag || line
}

/// Mostly what an attacker would choose, and anything else.
fn texts() -> impl Strategy<Value = String> {
    let nasty = prop::sample::select(
        "\u{1b}\u{9b}\u{7}\u{8}\r\n\t\0\u{7f}\u{85}\u{ad}\u{34f}\u{61c}\u{180e}\u{200b}\u{200d}\u{200e}\u{202e}\u{2028}\u{2066}\u{2069}\u{2060}\u{3164}\u{fe0f}\u{feff}\u{e0041}\u{301}\u{20dd}[]m;a"
            .chars()
            .collect::<Vec<_>>(),
    );
    proptest::collection::vec(prop_oneof![2 => nasty, 1 => any::<char>()], 0..60).prop_map(String::from_iter)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_line_of_it_holds_nothing_that_steers_or_hides(text in texts()) {
        let clean = Untrusted::new(&text);
        prop_assert!(!clean.as_str().chars().any(steers_or_hides), "{clean:?}");
        prop_assert!(clean.as_str().chars().count() <= text.chars().count());
    }

    #[test]
    fn several_lines_of_it_hold_line_ends_and_nothing_else_that_steers(text in texts(), most in 0usize..80) {
        let clean = Untrusted::lines(&text, most);
        prop_assert!(!clean.as_str().chars().any(|c| c != '\n' && steers_or_hides(c)), "{clean:?}");
        prop_assert!(clean.as_str().chars().count() <= most + 1, "at most {most} and the ellipsis");
    }

    #[test]
    fn cleaning_what_is_clean_changes_nothing(text in texts()) {
        let clean = Untrusted::new(&text);
        prop_assert_eq!(&Untrusted::new(clean.as_str()), &clean);
        let lines = Untrusted::lines(&text, 4096);
        prop_assert_eq!(&Untrusted::lines(lines.as_str(), 4096), &lines);
    }

    #[test]
    fn it_is_cleaned_on_its_way_in_from_json_too(text in texts()) {
        let read: Untrusted = serde_json::from_value(text.clone().into()).unwrap();
        prop_assert_eq!(read, Untrusted::new(&text));
    }

    #[test]
    fn printable_ascii_stays_as_it_is(text in "[ -~]{0,200}") {
        let clean = Untrusted::new(&text);
        prop_assert_eq!(clean.as_str(), text.as_str());
    }
}

#[test]
fn no_single_character_of_unicode_slips_through() {
    for c in (0..=0x10_ffff).filter_map(char::from_u32) {
        let clean = Untrusted::new(&format!("a{c}b"));
        assert!(!clean.as_str().chars().any(steers_or_hides), "U+{:04X} stays", u32::from(c));
        assert!(clean.as_str().starts_with('a') && clean.as_str().ends_with('b'), "U+{:04X}", u32::from(c));
    }
}

#[test]
fn text_longer_than_anybody_reads_is_cut_and_says_so() {
    let clean = Untrusted::new(&"x".repeat(1 << 20));
    assert!(clean.as_str().len() < 5_000 && clean.as_str().ends_with('…'));
    assert_eq!(Untrusted::new(clean.as_str()).as_str().chars().last(), Some('…'));
}
