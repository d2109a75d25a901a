//! Rows and what is opened as lines to be heard: a label before each value, no bars, no columns.

use ratatui::text::Line;
use zerostate::document::{bytes_text, duration_text};

use crate::console::details::LABEL;
use crate::console::model::Model;
use crate::console::panes::{Entry, attested, describe, time_left, witnesses};
use crate::console::widgets::bar::percent;
use crate::console::widgets::text::{age, clock, latency};

/// A row in one line.
pub fn row(entry: &Entry, model: &Model) -> String {
    match entry {
        Entry::Peer(peer) => {
            let name = peer.name.as_ref().map_or("no name yet", |name| name.as_str());
            let ping = peer.ping_us.last().map_or("not measured".to_owned(), |us| latency(*us));
            let how = if peer.relayed { "relayed" } else { "direct" };
            format!("{name}, {how}, latency {ping}, address {}, faults {}", peer.address, peer.faults)
        }
        Entry::Guild(guild) => format!(
            "{}, you are {}, members {}, time left {}",
            guild.name,
            guild.role.as_deref().unwrap_or("nothing in it"),
            guild.members.len(),
            time_left(guild.expires_at, model.now)
        ),
        Entry::Task(task) => {
            let record = &task.record;
            let executor = record.executor.as_ref().map_or("nobody yet".to_owned(), |did| model.name_of(did));
            let progress = task.progress.as_ref().map_or(String::new(), |progress| {
                let (fuel, limit) = (progress.fuel_used, progress.fuel_limit);
                format!(
                    ", fuel {} percent, memory {}, time {}",
                    percent(fuel, limit),
                    bytes_text(progress.memory_bytes),
                    duration_text(std::time::Duration::from_millis(progress.elapsed_ms))
                )
            });
            let votes = witnesses(task, model);
            format!("{}, state {}{votes}, executor {executor}{progress}", record.name, record.state.word())
        }
        Entry::Receipt(receipt) => format!(
            "{}, status {}, cost {}, executor {}, {}, finished {}",
            receipt.name,
            receipt.status,
            receipt.total_micro,
            model.name_of(&receipt.executor),
            attested(receipt).0,
            clock(receipt.finished_at, model.now, &model.zone)
        ),
        Entry::Attestation(one) => format!(
            "{}, verdict {}, witness {}, {}",
            one.name,
            one.verdict,
            model.name_of(&one.witness),
            since(age(one.at, model.now))
        ),
        Entry::Event(event) => {
            let at = clock(event.at, model.now, &model.zone);
            format!("{at}, {}: {}", event.what.word(), describe(&event.what, model))
        }
        Entry::Inbox(item) => {
            format!(
                "{} from {}: {}, {}",
                item.kind,
                model.name_of(&item.from),
                item.text,
                since(age(item.at, model.now))
            )
        }
        Entry::Log(line) => {
            format!(
                "{}, {}, {}: {}",
                clock(line.at, model.now, &model.zone),
                line.level,
                line.target,
                line.text
            )
        }
    }
}

fn since(age: String) -> String {
    if age == "now" { age } else { format!("{age} ago") }
}

/// Lines of a layer without what only the eye needs: bars are left out, columns become commas, a label in the first column ends in a colon.
pub fn plain_lines(lines: &[Line]) -> Vec<String> {
    let plain = lines.iter().map(|line| {
        // A label stands by itself in the first column.
        if let Some((first, rest)) = line.spans.split_first()
            && first.content.ends_with(' ')
            && first.content.chars().count() == LABEL
            && !first.content.trim().is_empty()
        {
            let rest = plain_lines(&[Line::from(rest.to_vec())]).join(", ");
            return format!("{}: {rest}", first.content.trim());
        }
        let text: String = line.spans.iter().map(|span| span.content.as_ref()).collect();
        let text: String = text.chars().filter(|c| !matches!(c, '▓' | '░' | '▁'..='█')).collect();
        let parts: Vec<&str> = text.split("  ").map(str::trim).filter(|part| !part.is_empty()).collect();
        match parts.split_first() {
            Some((label, rest))
                if !rest.is_empty() && !text.starts_with(' ') && label.chars().count() <= 12 =>
            {
                format!("{label}: {}", rest.join(", "))
            }
            _ => parts.join(", "),
        }
    });
    plain.filter(|line| !line.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_laid_out_for_the_eye_is_said_in_words() {
        let lines = [
            "executor   borealis  z6Mk…q8fT",
            "fuel       1,204 of 9,000       ▓▓░░░",
            "",
            "           goes on here",
            "a sentence of its own",
        ];
        let lines: Vec<Line> = lines.into_iter().map(Line::raw).collect();
        assert_eq!(
            plain_lines(&lines),
            [
                "executor: borealis, z6Mk…q8fT",
                "fuel: 1,204 of 9,000",
                "goes on here",
                "a sentence of its own"
            ]
        );
    }
}
