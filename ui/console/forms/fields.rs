//! What the fields of the submit form are, and the draft they make.

use std::path::PathBuf;

use zerostate::document::{ArtifactSource, AttestationTerms, Credits, Draft, parse_bytes, parse_duration};

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
    PerSecond "per second" "what a second costs, like 0.002; nothing when empty",
    PerMib "per MiB" "what a MiB of memory costs, like 0.0001",
    PerGfuel "per Gfuel" "what a thousand million of fuel costs",
    MaxTotal "max total" "the most it may cost, like 0.05; no cap when empty",
    Quorum "quorum" "how many witnesses must agree; 0 asks for none",
    Witnesses "witnesses" "how many are asked; as many as must agree when empty",
    Lifetime "expires in" "1h",
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
    match value(Field::Witnesses).trim() {
        "" => {}
        text => match text.parse() {
            Ok(witnesses) => draft.attestation.witnesses = witnesses,
            Err(_) => take(Field::Witnesses, false, "expected a small whole number"),
        },
    }
    let payment = &mut draft.payment;
    for (field, price) in [
        (Field::PerSecond, &mut payment.per_second_micro),
        (Field::PerMib, &mut payment.per_mib_micro),
        (Field::PerGfuel, &mut payment.per_gfuel_micro),
        (Field::MaxTotal, &mut payment.max_total_micro),
    ] {
        match value(field).trim() {
            "" | "no cap" => {}
            text => match text.parse() {
                Ok(amount) => *price = amount,
                Err(_) => take(field, false, "expected an amount like 0.05, with at most six decimals"),
            },
        }
    }
    let lifetime = value(Field::Lifetime);
    if !lifetime.trim().is_empty() {
        let ms = parse_duration(lifetime.trim()).and_then(|time| u64::try_from(time.as_millis()).ok());
        match ms {
            Some(ms) => draft.lifetime_ms = ms,
            None => take(Field::Lifetime, false, "expected a duration like 1h or 90s"),
        }
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
        "payment.per_second" => Field::PerSecond,
        "payment.per_mib" => Field::PerMib,
        "payment.per_gfuel" => Field::PerGfuel,
        "payment.max_total" => Field::MaxTotal,
        "attestation.witnesses" => Field::Witnesses,
        "expires_at" | "expires_in" => Field::Lifetime,
        field if field.starts_with("args") => Field::Args,
        field if field.starts_with("attestation") => Field::Quorum,
        _ => return None,
    })
}

/// The fields as a manifest in TOML, to go on with in an editor. What is as it would be anyway is left out.
///
/// # Errors
/// What is wrong with the first field that cannot be read.
pub fn manifest(value: impl Fn(Field) -> String, folder: &str) -> Result<String, String> {
    use std::fmt::Write as _;

    let draft = parse(&value).map_err(|problems| {
        problems.first().map_or(String::new(), |(at, what)| format!("{}: {what}", at.label()))
    })?;
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let ArtifactSource::Path(path) = &draft.artifact else {
        return Err("a module is named by its path".to_owned());
    };
    // The manifest is kept somewhere else than the module it is about.
    let path = if path.is_absolute() { path.clone() } else { PathBuf::from(folder).join(path) };
    let args: Vec<String> = draft.args.iter().map(|arg| quoted(arg)).collect();
    let mut text = String::from(
        "# A task for zerostate. `zerostate manifest new FILE` writes one with every field explained.\n\n",
    );
    let mut line = |name: &str, value: String| {
        // Writing to a string does not fail.
        writeln!(text, "{name} = {value}").ok();
    };
    line("name", quoted(&draft.name));
    line("artifact", format!("{{ path = {} }}", quoted(&path.to_string_lossy())));
    line("function", quoted(&draft.function));
    line("args", format!("[{}]", args.join(", ")));
    if !value(Field::Lifetime).trim().is_empty() {
        line("expires_in", quoted(value(Field::Lifetime).trim()));
    }
    let or = |field: Field, default: &str| match value(field).trim() {
        "" | "no cap" => default.to_owned(),
        text => text.to_owned(),
    };
    let amount = |field| quoted(&or(field, "0"));
    write!(
        text,
        "\n[limits]\nmemory = {}\ntime = {}\nfuel = {}\n\n[payment]\nper_second = {}\nper_mib = {}\nper_gfuel = {}\n",
        quoted(value(Field::Memory).trim()),
        quoted(value(Field::Time).trim()),
        draft.limits.fuel,
        amount(Field::PerSecond),
        amount(Field::PerMib),
        amount(Field::PerGfuel),
    )
    .ok();
    if draft.payment.max_total_micro != Credits::MAX {
        writeln!(text, "max_total = {}", amount(Field::MaxTotal)).ok();
    }
    let AttestationTerms { quorum, witnesses } = draft.attestation;
    writeln!(text, "\n[attestation]\nquorum = {quorum}\nwitnesses = {witnesses}").ok();
    Ok(text)
}

/// `~/x` as the shell would have it.
pub fn expand(path: &str) -> String {
    match (path.strip_prefix("~/"), std::env::var("HOME")) {
        (Some(rest), Ok(home)) => format!("{home}/{rest}"),
        _ => path.to_owned(),
    }
}

/// A word as [`split`] reads it.
pub fn quoted(word: &str) -> String {
    let plain = !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || c == '"' || c == '\'');
    match (plain, word.contains('"')) {
        (true, _) => word.to_owned(),
        (false, false) => format!("\"{word}\""),
        (false, true) => word.split('"').map(|part| format!("\"{part}\"")).collect::<Vec<_>>().join("'\"'"),
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
        for word in ["a", "", "b c", "it's", "\"", "say \"hi\" now"] {
            assert_eq!(split(&quoted(word)).unwrap(), [word], "{}", quoted(word));
        }
    }
}
