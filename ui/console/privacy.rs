//! A mask over the finished picture, for those who show it to others: ids, keys and addresses become dots. It works on what is drawn, so
//! that no pane can forget it. Names stay; they are for others to read.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

/// What an id begins with: a DID, a peer id, a CID, an invitation.
const BEGINNINGS: [&str; 7] = ["did:", "z6Mk", "12D3Ko", "Qm", "bafy", "bafk", "zsguild"];
/// And a multiaddress.
const ADDRESSES: [&str; 9] =
    ["/ip4/", "/ip6/", "/dns/", "/dns4/", "/dns6/", "/dnsaddr/", "/p2p/", "/unix/", "/tcp/"];
/// A run of letters and digits so long is no word of a language: a digest, a key, a task's id.
const LONG: usize = 16;

const MASK: &str = "·";

/// Masks every id and address on the screen.
pub fn mask(buffer: &mut Buffer) {
    let (width, height) = (buffer.area.width, buffer.area.height);
    // Where a word that was masked went on to the end of its column, the rest of it begins the next line, in the same place.
    let mut goes_on: Vec<u16> = Vec::new();
    for y in 0..height {
        let mut ends = Vec::new();
        for (from, to) in words(buffer, y, width) {
            let text: String =
                (from..to).filter_map(|x| buffer.cell((x, y))).map(|cell| cell.symbol()).collect();
            let rest = goes_on.contains(&from) && is_part(trimmed(&text));
            // What was masked before another layer came over it goes on as well.
            let is_masked = text.contains(MASK);
            if !(tells(&text) || rest || is_masked) {
                continue;
            }
            for x in from..to {
                if let Some(cell) =
                    buffer.cell_mut((x, y)).filter(|cell| cell.symbol().chars().any(char::is_alphanumeric))
                {
                    cell.set_symbol(MASK);
                }
            }
            // What was cut or shortened does not go on.
            if !text.contains('…') && at_the_edge(buffer, to, y, width) {
                ends.push(from);
            }
        }
        goes_on = ends;
    }
}

/// Masks what the first line of a text is the rest of, where it is scrolled so that `above` cannot be seen.
pub fn mask_rest(buffer: &mut Buffer, text: Rect, above: &Line) {
    let mut both = Buffer::empty(Rect { x: 0, y: 0, width: text.width, height: 2 });
    both.set_line(0, 0, above, text.width);
    for x in 0..text.width {
        let (shown, copy) = (buffer.cell((text.x + x, text.y)), both.cell_mut((x, 1)));
        if let (Some(shown), Some(copy)) = (shown, copy) {
            copy.clone_from(shown);
        }
    }
    mask(&mut both);
    for x in 0..text.width {
        let (masked, shown) = (both.cell((x, 1)), buffer.cell_mut((text.x + x, text.y)));
        if let (Some(masked), Some(shown)) = (masked, shown) {
            shown.clone_from(masked);
        }
    }
}

fn trimmed(word: &str) -> &str {
    word.trim_matches(|c: char| !c.is_alphanumeric() && c != '/')
}

/// Whether a word, with whatever stands around it, gives away who or where somebody is.
fn tells(word: &str) -> bool {
    let bare = word.trim_end_matches([',', ';', ':', '.', ')']);
    is_telling(trimmed(word)) || is_shortened(bare) || is_ip(bare)
}

/// The same for a line of text.
pub fn mask_text(text: &str) -> String {
    let masked = text.split_inclusive(char::is_whitespace).map(|word| {
        if tells(word.trim_end()) {
            word.chars().map(|c| if c.is_alphanumeric() { '·' } else { c }).collect()
        } else {
            word.to_owned()
        }
    });
    masked.collect()
}

/// The words of a line, as they are separated by blanks and frames.
fn words(buffer: &Buffer, y: u16, width: u16) -> Vec<(u16, u16)> {
    let (mut words, mut start) = (Vec::new(), None);
    for x in 0..=width {
        let inside = x < width && buffer.cell((x, y)).is_some_and(|cell| !is_gap(cell.symbol()));
        match (inside, start) {
            (true, None) => start = Some(x),
            (false, Some(from)) => {
                words.push((from, x));
                start = None;
            }
            _ => {}
        }
    }
    words
}

fn is_gap(symbol: &str) -> bool {
    symbol.trim().is_empty()
        || symbol.chars().next().is_some_and(|c| matches!(c, '\u{2500}'..='\u{257f}' | '|'))
}

/// Whether a word gives away who or where somebody is.
fn is_telling(word: &str) -> bool {
    let cut = |c: char| !c.is_ascii_alphanumeric();
    let is_id = |part: &str| {
        part.len() >= LONG
            || BEGINNINGS.iter().any(|begin| part.starts_with(begin) && part.len() > begin.len())
    };
    ADDRESSES.iter().any(|begin| word.contains(begin))
        || BEGINNINGS.iter().any(|begin| word.starts_with(begin))
        || word.split(cut).any(is_id)
        || is_ip(word)
}

/// `z6Mkha…q8fT`, `…q8fT`, `9f2c81…`: what is left of a long id.
fn is_shortened(word: &str) -> bool {
    word.split_once('…').is_some_and(|(head, tail)| {
        let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric());
        let hex = |text: &str| text.len() >= 6 && text.chars().all(|c| c.is_ascii_hexdigit());
        // Of a word of a language a digit is no part.
        let digits = |text: &str| text.contains(|c: char| c.is_ascii_digit());
        (plain(head) && plain(tail) && tail.len() >= 4) || (tail.is_empty() && hex(head) && digits(head))
    })
}

/// An address, alone or in a URL, with or without its port, also one that was cut off.
fn is_ip(word: &str) -> bool {
    let whole = |part: &str| {
        part.parse::<std::net::SocketAddr>().is_ok()
            || part.parse::<std::net::IpAddr>().is_ok()
            || part.rsplit_once(':').is_some_and(|(host, _)| host.parse::<std::net::Ipv4Addr>().is_ok())
    };
    let cut = |part: &str| {
        part.strip_suffix('…').is_some_and(|head| {
            let numbers =
                head.chars().all(|c| c.is_ascii_digit() || c == '.') && head.matches('.').count() >= 2;
            let groups =
                head.chars().all(|c| c.is_ascii_hexdigit() || c == ':') && head.matches(':').count() >= 2;
            numbers || groups
        })
    };
    let parts = word.split(['/', '@', '=', '(', ')', '[', ']', ',', '"', '<', '>']);
    parts.filter(|part| part.contains(['.', ':'])).any(|part| whole(part) || cut(part)) || whole(word)
}

fn is_part(word: &str) -> bool {
    !word.is_empty()
        && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | ':' | '…' | '-'))
}

/// Whether nothing but blanks stands between a word and the frame behind it.
fn at_the_edge(buffer: &Buffer, from: u16, y: u16, width: u16) -> bool {
    let behind = (from..width).filter_map(|x| buffer.cell((x, y)));
    let mut blanks = 0;
    for cell in behind {
        if cell.symbol().trim().is_empty() {
            blanks += 1;
        } else {
            return is_gap(cell.symbol()) && blanks <= 1;
        }
    }
    blanks <= 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_addresses_are_masked_and_words_are_not() {
        for telling in [
            "z6MkwF…q8fT",
            "bafkrei…7q2a",
            "did:key:z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw",
            "12D3KooWQYV9dGMFoRzNStwpXztXaBUjtPqi6aU76ZgUriHhKust",
            "/ip4/203.0.113.7/tcp/4001",
            "(/dns4/example.org/tcp/443",
            "203.0.113.7:4001",
            "203.0.113.7",
            "[2001:db8::1]:80",
            "0101010101010101010101010101010101",
            "…q8fT",
            "203.0.113…",
            "2001:db8::1…",
            "http://10.0.0.5:9090/metrics",
            "peer@203.0.113.7",
            "9f2c81…",
        ] {
            assert!(tells(telling), "{telling}");
        }
        for word in [
            "word-count",
            "attested",
            "1,204,551",
            "14:02:31",
            "wasmtime",
            "48.0.8",
            "0.000360",
            "Attestations",
            "▲",
            "41:07",
            "…",
        ] {
            assert!(!tells(word), "{word}");
        }
    }

    #[test]
    fn lines_are_masked_too() {
        assert_eq!(
            mask_text("executor: borealis, z6Mkha…q8fT, at /ip4/192.0.2.1/tcp/1"),
            "executor: borealis, ······…····, at /···/···.·.·.·/···/·"
        );
    }

    #[test]
    fn the_rest_of_an_id_on_the_next_line_is_masked_as_well() {
        let id = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy";
        let mut buffer = Buffer::with_lines([
            format!("│ id    {} │", &id[..20]),
            format!("│       {} │", &id[20..40]),
            format!("│       {}  │", &id[40..]),
            "│ name  hello                │".to_owned(),
        ]);
        mask(&mut buffer);
        let text: String = buffer.content.iter().map(|cell| cell.symbol()).collect();
        assert!(text.contains("hello") && text.contains("name") && text.contains("id"), "{text}");
        for part in [&id[..6], &id[22..28], &id[41..46]] {
            assert!(!text.contains(part), "{part} in {text}");
        }
    }
}
