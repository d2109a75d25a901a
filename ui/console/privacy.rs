//! A mask over the finished picture, for those who show it to others: ids, keys and addresses become dots. It works on what is drawn, so
//! that no pane can forget it. Names stay; they are for others to read.

use ratatui::buffer::Buffer;

/// What an id begins with: a DID, a peer id, a CID, an invitation.
const BEGINNINGS: [&str; 7] = ["did:", "z6Mk", "12D3Ko", "Qm", "bafy", "bafk", "zsguild"];
/// And a multiaddress.
const ADDRESSES: [&str; 9] =
    ["/ip4/", "/ip6/", "/dns/", "/dns4/", "/dns6/", "/dnsaddr/", "/p2p/", "/unix/", "/tcp/"];
/// A run of letters and digits so long is no word of a language: a digest, a key, a task's id.
const LONG: usize = 16;

/// Masks every id and address on the screen.
pub fn mask(buffer: &mut Buffer) {
    let (width, height) = (buffer.area.width, buffer.area.height);
    // Where a word that was masked went on to the end of its column, the next line begins with the rest of it.
    let mut goes_on: Vec<u16> = Vec::new();
    for y in 0..height {
        let mut ends = Vec::new();
        for (from, to) in words(buffer, y, width) {
            let text: String =
                (from..to).filter_map(|x| buffer.cell((x, y))).map(|cell| cell.symbol()).collect();
            let rest = goes_on
                .iter()
                .any(|start| (start.saturating_sub(2)..=start.saturating_add(2)).contains(&from));
            let inner = text.trim_matches(|c: char| !c.is_alphanumeric() && c != '/');
            if !(is_telling(inner) || is_shortened(&text) || (rest && is_part(inner))) {
                continue;
            }
            for x in from..to {
                if let Some(cell) =
                    buffer.cell_mut((x, y)).filter(|cell| cell.symbol().chars().any(char::is_alphanumeric))
                {
                    cell.set_symbol("•");
                }
            }
            // What was cut off does not go on.
            if !text.ends_with('…') && at_the_edge(buffer, to, y, width) {
                ends.push(from);
            }
        }
        // The rest may stand anywhere in the column that the word began in or after.
        goes_on = ends;
        let labels: Vec<u16> = goes_on.iter().filter_map(|_| first_text(buffer, y + 1, width)).collect();
        goes_on.extend(labels);
    }
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

/// `z6Mkha…q8fT`, `…q8fT`: what is left of a long id.
fn is_shortened(word: &str) -> bool {
    word.split_once('…').is_some_and(|(head, tail)| {
        let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric());
        plain(head) && plain(tail) && tail.len() >= 4
    })
}

/// An address with or without its port.
fn is_ip(word: &str) -> bool {
    word.parse::<std::net::SocketAddr>().is_ok()
        || word.parse::<std::net::IpAddr>().is_ok_and(|_| word.contains(['.', ':']))
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

/// Where the text of a line begins, behind the frame.
fn first_text(buffer: &Buffer, y: u16, width: u16) -> Option<u16> {
    (0..width).find(|x| buffer.cell((*x, y)).is_some_and(|cell| !is_gap(cell.symbol())))
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
        ] {
            let inner =
                telling.trim_matches(|c: char| !c.is_alphanumeric() && c != '/' && c != '[' && c != ']');
            assert!(is_telling(inner) || is_telling(telling) || is_shortened(telling), "{telling}");
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
            assert!(!is_telling(word) && !is_shortened(word), "{word}");
        }
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
