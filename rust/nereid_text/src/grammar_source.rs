//! Sources of grammars, as requests bring them: what is checked before the library sees them, and how
//! each kind is put to it.

use llguidance::api::TopLevelGrammar;
use serde_json::{json, Value};

use crate::grammar_lark;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    JsonObject,
    JsonSchema,
    Regex,
    Lark,
    Choice,
}

impl Kind {
    /// Numbers as in `nereid_text.h`.
    pub fn of(number: i32) -> Result<Self, String> {
        Ok(match number {
            0 => Kind::JsonObject,
            1 => Kind::JsonSchema,
            2 => Kind::Regex,
            3 => Kind::Lark,
            4 => Kind::Choice,
            _ => return Err(format!("grammar kind {number}, expected 0 to 4")),
        })
    }
}

#[derive(Clone, Copy)]
pub struct SourceLimits {
    pub max_bytes: usize,
    pub max_nesting: usize,
}

/// `{n}` in regular expressions, lengths of strings, arrays and objects in schemas.
const MAX_REPEAT: u64 = 100_000;
/// What the library spends on these grows with the square of their number, or worse.
const MAX_PROPERTIES: usize = 240; // of one object
const MAX_ALL_OF: usize = 32;
const MAX_PATTERNS_OF_ALL: usize = 4; // below one allOf
const MAX_MULTIPLE_OF: f64 = 1000.0;

/// What can be told from the text alone.
pub fn check(kind: Kind, source: &str, limits: &SourceLimits) -> Result<(), String> {
    if kind == Kind::JsonObject {
        return Ok(());
    }
    if source.len() > limits.max_bytes {
        return Err(format!("{} bytes, at most {} are allowed", source.len(), limits.max_bytes));
    }
    match kind {
        Kind::JsonSchema | Kind::Choice => check_json_nesting(source, limits.max_nesting),
        Kind::Regex => check_regex(source, limits.max_nesting),
        Kind::Lark => grammar_lark::check(source),
        Kind::JsonObject => Ok(()),
    }
}

pub fn grammar(kind: Kind, source: &str, limits: &SourceLimits) -> Result<TopLevelGrammar, String> {
    match kind {
        Kind::JsonObject => Ok(schema_grammar(json!({"type": "object"}))),
        Kind::JsonSchema => {
            let schema: Value = serde_json::from_str(source).map_err(|e| e.to_string())?;
            check_schema(&schema, limits)?;
            Ok(schema_grammar(schema))
        }
        Kind::Regex => Ok(TopLevelGrammar::from_regex(without_anchors(source))),
        Kind::Lark => Ok(TopLevelGrammar::from_lark(source.to_owned())),
        Kind::Choice => {
            let choices: Vec<String> = serde_json::from_str(source)
                .map_err(|e| format!("choices: expected an array of strings: {e}"))?;
            Ok(TopLevelGrammar::from_lark(choice_grammar(&choices)?))
        }
    }
}

fn schema_grammar(mut schema: Value) -> TopLevelGrammar {
    if let Value::Object(fields) = &mut schema {
        // `oneOf` is taken as `anyOf`: what comes out fits at least one of the options.
        fields.insert("x-guidance".to_owned(), json!({"coerce_one_of": true}));
    }
    TopLevelGrammar::from_json_schema(schema)
}

/// One terminal for all, so that their number costs little.
fn choice_grammar(choices: &[String]) -> Result<String, String> {
    if choices.is_empty() {
        return Err("choices: the list is empty, expected at least one".into());
    }
    if let Some(at) = choices.iter().position(String::is_empty) {
        return Err(format!("choices[{at}] is empty, expected text"));
    }
    let quoted: Vec<String> = choices.iter().map(|c| Value::from(c.as_str()).to_string()).collect();
    Ok(format!("start: CHOICE\nCHOICE: {}\n", quoted.join(" | ")))
}

/// The whole output has to match, so anchors at the ends say nothing; the library has none.
fn without_anchors(regex: &str) -> &str {
    let regex = regex.strip_prefix('^').unwrap_or(regex);
    match regex.strip_suffix('$') {
        Some(rest) if trailing_backslashes(rest) % 2 == 0 => rest,
        _ => regex,
    }
}

fn trailing_backslashes(text: &str) -> usize {
    text.bytes().rev().take_while(|b| *b == b'\\').count()
}

fn check_json_nesting(json: &str, max_nesting: usize) -> Result<(), String> {
    let (mut depth, mut in_string, mut is_escaped) = (0usize, false, false);
    for byte in json.bytes() {
        if in_string {
            in_string = is_escaped || byte != b'"';
            is_escaped = !is_escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > max_nesting {
            return Err(format!("nested more than {max_nesting} deep"));
        }
    }
    Ok(())
}

/// Groups and repetitions; whether the rest is a regular expression is for the library to say.
fn check_regex(regex: &str, max_nesting: usize) -> Result<(), String> {
    if trailing_backslashes(regex) % 2 != 0 {
        return Err("it ends with a backslash".into());
    }
    let (mut depth, mut in_class, mut repeats) = (0usize, false, 1u64);
    let mut bytes = regex.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'[' => in_class = true,
            b']' => in_class = false,
            _ if in_class => {}
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b'{' => repeats = repeats.saturating_mul(repeat_count(&regex[at + 1..])),
            _ => {}
        }
        if depth > max_nesting {
            return Err(format!("groups are nested more than {max_nesting} deep"));
        }
        if repeats > MAX_REPEAT {
            return Err(format!("repetitions multiply to more than {MAX_REPEAT}"));
        }
    }
    Ok(())
}

/// The largest number of `3}`, `3,}` or `3,5}`; 1 where there is none.
fn repeat_count(after_brace: &str) -> u64 {
    let inside = after_brace.split('}').next().unwrap_or_default();
    let count = |text: &str| match text.trim() {
        "" => 1,
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().unwrap_or(u64::MAX),
        _ => 1,
    };
    inside.split(',').map(count).max().unwrap_or(1).max(1)
}

/// Regular expressions and lengths inside of a schema. `schema` is nested as far as is allowed.
fn check_schema(schema: &Value, limits: &SourceLimits) -> Result<(), String> {
    match schema {
        Value::Array(items) => items.iter().try_for_each(|item| check_schema(item, limits)),
        Value::Object(fields) => fields.iter().try_for_each(|(key, value)| {
            check_keyword(key, value, limits).map_err(|e| format!("{key}: {e}"))?;
            check_schema(value, limits)
        }),
        _ => Ok(()),
    }
}

fn check_keyword(key: &str, value: &Value, limits: &SourceLimits) -> Result<(), String> {
    match (key, value) {
        ("pattern", Value::String(regex)) => check_regex(regex, limits.max_nesting),
        ("patternProperties", Value::Object(patterns)) => {
            at_most(patterns.len(), MAX_ALL_OF)?;
            patterns.keys().try_for_each(|regex| check_regex(regex, limits.max_nesting))
        }
        (
            "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties",
            Value::Number(count),
        ) => match count.as_f64() {
            Some(count) if count > MAX_REPEAT as f64 => {
                Err(format!("more than {MAX_REPEAT} is not supported"))
            }
            _ => Ok(()),
        },
        ("properties", Value::Object(fields)) => at_most(fields.len(), MAX_PROPERTIES),
        ("required", Value::Array(names)) => at_most(names.len(), MAX_PROPERTIES),
        ("allOf", Value::Array(parts)) => {
            at_most(parts.len(), MAX_ALL_OF)?;
            let patterns = parts.iter().map(num_patterns).sum();
            at_most(patterns, MAX_PATTERNS_OF_ALL).map_err(|e| format!("patterns: {e}"))
        }
        ("multipleOf", Value::Number(number)) => match number.as_f64() {
            Some(number) if number > MAX_MULTIPLE_OF => {
                Err(format!("{number}, at most {MAX_MULTIPLE_OF} is supported"))
            }
            _ => Ok(()),
        },
        ("x-guidance", _) => Err("not supported".into()),
        _ => Ok(()),
    }
}

fn num_patterns(schema: &Value) -> usize {
    match schema {
        Value::Array(items) => items.iter().map(num_patterns).sum(),
        Value::Object(fields) => {
            let own = fields.get("pattern").is_some_and(Value::is_string);
            usize::from(own) + fields.values().map(num_patterns).sum::<usize>()
        }
        _ => 0,
    }
}

fn at_most(count: usize, limit: usize) -> Result<(), String> {
    if count > limit {
        return Err(format!("{count} entries, at most {limit} are supported"));
    }
    Ok(())
}
