//! The function a job names: its arguments from text by type, its results as a JSON value.

use wasmtime::{FuncType, Val, ValType};

/// The first integer that JSON readers may get wrong (a double's 53 bits); from here on they are strings.
const FIRST_UNSAFE_INTEGER: u64 = 1 << 53;

/// Parses `args` for a function of type `ty`. The error says what would be right.
///
/// A function without parameters takes any arguments: it may read them through WASI.
pub(super) fn parameters(name: &str, ty: &FuncType, args: &[String]) -> Result<Vec<Val>, String> {
    if let Some(unsupported) = ty.results().find(|result| zero(result).is_none()) {
        return Err(format!("function `{name}` returns {unsupported}; only numbers can be returned"));
    }
    if ty.params().len() == 0 {
        return Ok(Vec::new());
    }
    if ty.params().len() != args.len() {
        let types = ty.params().map(|param| param.to_string()).collect::<Vec<_>>().join(", ");
        return Err(format!(
            "function `{name}` takes {} arguments ({types}), {} given",
            ty.params().len(),
            args.len()
        ));
    }
    ty.params()
        .zip(args)
        .enumerate()
        .map(|(at, (ty, arg))| {
            value(&ty, arg.trim()).ok_or_else(|| match zero(&ty) {
                Some(_) => {
                    format!("argument {} of `{name}` must be {ty}, {arg:?} is not", at.saturating_add(1))
                }
                None => format!("function `{name}` takes {ty}; only numbers can be given"),
            })
        })
        .collect()
}

fn value(ty: &ValType, text: &str) -> Option<Val> {
    match ty {
        // Both readings of 32 bits are taken: -1 and 4294967295 are the same.
        ValType::I32 => text.parse().or_else(|_| text.parse().map(u32::cast_signed)).ok().map(Val::I32),
        ValType::I64 => text.parse().or_else(|_| text.parse().map(u64::cast_signed)).ok().map(Val::I64),
        ValType::F32 => text.parse().ok().map(|number: f32| Val::F32(number.to_bits())),
        ValType::F64 => text.parse().ok().map(|number: f64| Val::F64(number.to_bits())),
        ValType::V128 | ValType::Ref(_) => None,
    }
}

fn zero(ty: &ValType) -> Option<Val> {
    match ty {
        ValType::I32 => Some(Val::I32(0)),
        ValType::I64 => Some(Val::I64(0)),
        ValType::F32 => Some(Val::F32(0)),
        ValType::F64 => Some(Val::F64(0)),
        ValType::V128 | ValType::Ref(_) => None,
    }
}

/// Room for the results of a function that [`parameters`] has accepted.
pub(super) fn room_for_results(ty: &FuncType) -> Vec<Val> {
    ty.results().filter_map(|result| zero(&result)).collect()
}

/// Nothing for no result, the value for one, an array for several.
pub(super) fn to_json(results: &[Val]) -> Option<String> {
    let texts: Vec<String> = results.iter().filter_map(json_of).collect();
    match texts.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        several => Some(format!("[{}]", several.join(","))),
    }
}

fn json_of(value: &Val) -> Option<String> {
    match value {
        Val::I32(number) => Some(number.to_string()),
        Val::I64(number) if number.unsigned_abs() >= FIRST_UNSAFE_INTEGER => Some(format!("\"{number}\"")),
        Val::I64(number) => Some(number.to_string()),
        Val::F32(bits) => {
            let number = f32::from_bits(*bits);
            Some(if number.is_finite() { format!("{number:?}") } else { not_finite(number.into()) })
        }
        Val::F64(bits) => {
            let number = f64::from_bits(*bits);
            Some(if number.is_finite() { format!("{number:?}") } else { not_finite(number) })
        }
        _ => None,
    }
}

/// JSON has no infinities and no NaN: strings, as JavaScript names them.
fn not_finite(number: f64) -> String {
    let name = match number {
        number if number.is_nan() => "NaN",
        number if number > 0.0 => "Infinity",
        _ => "-Infinity",
    };
    format!("\"{name}\"")
}
