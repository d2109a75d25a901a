//! What the fields of the submit form are, and the draft they make.

use std::path::PathBuf;

use zerostate::document::{ArtifactSource, Draft, parse_bytes, parse_duration};

macro_rules! fields {
    ($($variant:ident $label:literal $hint:literal,)*) => {
        /// A field of the form, in its order.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Field { $($variant,)* }

        impl Field {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            pub fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }

            /// What stands there while nothing does.
            pub fn hint(self) -> &'static str {
                match self { $(Self::$variant => $hint,)* }
            }
        }
    };
}

fields! {
    Path "file" "a module (.wasm) or a manifest (.toml, .json)",
    Name "name" "what the task is called",
    Function "function" "the exported function to call",
    Args "arguments" "separated by spaces; \"quoted\" when they contain some",
    Memory "memory" "128MiB",
    Time "time" "30s",
    Fuel "fuel" "10000000000",
    Quorum "quorum" "how many witnesses must agree; 0 asks for none",
    MaxTotal "max total" "the most it may cost, like 0.05; no cap when empty",
}

/// The draft that the fields make, or what is wrong with each.
///
/// # Errors
/// The fields that cannot be read, and what would be right.
pub fn parse(value: impl Fn(Field) -> String) -> Result<Draft, Vec<(Field, &'static str)>> {
    let mut problems = Vec::new();
    let path = PathBuf::from(expand(value(Field::Path).trim()));
    let mut draft = Draft::for_module(value(Field::Name).trim(), ArtifactSource::Path(path));
    draft.function = value(Field::Function).trim().to_owned();
    let mut take = |field: Field, found: bool, expected: &'static str| {
        if !found {
            problems.push((field, expected));
        }
    };
    match split(&value(Field::Args)) {
        Some(args) => draft.args = args,
        None => take(Field::Args, false, "a quote is not closed"),
    }
    match parse_bytes(value(Field::Memory).trim()) {
        Some(bytes) => draft.limits.memory_bytes = bytes,
        None => take(Field::Memory, false, "expected a size like 128MiB"),
    }
    let time =
        parse_duration(value(Field::Time).trim()).and_then(|time| u64::try_from(time.as_millis()).ok());
    match time {
        Some(ms) => draft.limits.time_ms = ms,
        None => take(Field::Time, false, "expected a duration like 30s or 250ms"),
    }
    match value(Field::Fuel).trim().replace([',', '_'], "").parse() {
        Ok(fuel) => draft.limits.fuel = fuel,
        Err(_) => take(Field::Fuel, false, "expected a whole number"),
    }
    match value(Field::Quorum).trim().parse() {
        Ok(quorum) => {
            draft.attestation.quorum = quorum;
            draft.attestation.witnesses = quorum;
        }
        Err(_) => take(Field::Quorum, false, "expected a small whole number"),
    }
    match value(Field::MaxTotal).trim() {
        "" | "no cap" => {}
        text => match text.parse() {
            Ok(cap) => draft.payment.max_total_micro = cap,
            Err(_) => take(Field::MaxTotal, false, "expected an amount like 0.05, with at most six decimals"),
        },
    }
    if problems.is_empty() { Ok(draft) } else { Err(problems) }
}

/// The field of the form that a fault of the draft belongs to.
pub fn of_fault(field: &str) -> Option<Field> {
    Some(match field {
        "name" => Field::Name,
        "function" => Field::Function,
        "limits.memory" => Field::Memory,
        "limits.time" => Field::Time,
        "limits.fuel" => Field::Fuel,
        "payment.max_total" => Field::MaxTotal,
        field if field.starts_with("args") => Field::Args,
        field if field.starts_with("attestation") => Field::Quorum,
        _ => return None,
    })
}

/// `~/x` as the shell would have it.
pub fn expand(path: &str) -> String {
    match (path.strip_prefix("~/"), std::env::var("HOME")) {
        (Some(rest), Ok(home)) => format!("{home}/{rest}"),
        _ => path.to_owned(),
    }
}

/// Words as a shell would split them: by spaces, except between quotes. `None` when a quote is not closed.
fn split(text: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote, mut inside) = (Vec::new(), String::new(), None, false);
    for c in text.chars() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            (c, Some(_)) => word.push(c),
            ('"' | '\'', None) => {
                quote = Some(c);
                inside = true;
            }
            (c, None) if c.is_whitespace() => {
                if inside || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                inside = false;
            }
            (c, None) => word.push(c),
        }
    }
    if inside || !word.is_empty() {
        words.push(word);
    }
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_split_as_in_a_shell() {
        assert_eq!(split("a  'b c' \"\" d").unwrap(), ["a", "b c", "", "d"]);
        assert_eq!(split("\"open"), None);
    }
}
