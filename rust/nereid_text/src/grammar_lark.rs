//! A look over a Lark grammar before it is compiled. Terminals are put into each other's regular
//! expressions, so a few lines can stand for one that is as deep or as large as one likes; the library
//! has no limit on either.

use std::collections::HashMap;

/// Brackets that are open at once, wherever they stand.
const MAX_BRACKETS: usize = 200;
/// Terminals within terminals, and the parts of one when all are put in.
const MAX_DEPTH: u32 = 50;
const MAX_PARTS: u64 = 100_000;

/// What a terminal is made of, when those it names are put in.
#[derive(Clone, Copy)]
struct Size {
    depth: u32,
    parts: u64,
}

pub fn check(source: &str) -> Result<(), String> {
    check_brackets(source)?;
    let definitions = definitions(source);
    let mut sizes: HashMap<&str, Option<Size>> = HashMap::new();
    for name in definitions.keys() {
        size_of(name, &definitions, &mut sizes)?;
    }
    Ok(())
}

fn check_brackets(source: &str) -> Result<(), String> {
    let mut depth = 0usize;
    for byte in source.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_BRACKETS {
            return Err(format!("more than {MAX_BRACKETS} brackets are open at once"));
        }
    }
    Ok(())
}

/// The recursion is no deeper than MAX_DEPTH. A terminal within itself is for the library to refuse.
fn size_of<'s>(
    name: &'s str,
    definitions: &HashMap<&'s str, Vec<&'s str>>,
    sizes: &mut HashMap<&'s str, Option<Size>>,
) -> Result<Size, String> {
    size_within(name, definitions, sizes, 0)
}

fn size_within<'s>(
    name: &'s str,
    definitions: &HashMap<&'s str, Vec<&'s str>>,
    sizes: &mut HashMap<&'s str, Option<Size>>,
    level: u32,
) -> Result<Size, String> {
    const ONE: Size = Size { depth: 0, parts: 1 };
    let Some(words) = definitions.get(name) else { return Ok(ONE) };
    if let Some(known) = sizes.get(name) {
        return Ok(known.unwrap_or(ONE)); // none: on the way, it names itself
    }
    sizes.insert(name, None);
    let mut size = ONE;
    for word in words {
        if level >= MAX_DEPTH {
            return Err(format!("terminals are nested more than {MAX_DEPTH} deep"));
        }
        let inner = size_within(word, definitions, sizes, level + 1)?;
        size.depth = size.depth.max(inner.depth + 1);
        size.parts = size.parts.saturating_add(inner.parts);
    }
    if size.depth > MAX_DEPTH {
        return Err(format!("terminals are nested more than {MAX_DEPTH} deep"));
    }
    if size.parts > MAX_PARTS {
        return Err(format!("the terminal {name} stands for more than {MAX_PARTS} parts"));
    }
    sizes.insert(name, Some(size));
    Ok(size)
}

/// The words in the definition of each terminal. A definition ends where another name with a colon
/// begins.
fn definitions(source: &str) -> HashMap<&str, Vec<&str>> {
    let mut found: HashMap<&str, Vec<&str>> = HashMap::new();
    let mut current = None;
    for line in source.lines() {
        let body = match definition_start(line) {
            Some((name, body)) => {
                current = is_terminal(name).then_some(name);
                body
            }
            None => line,
        };
        if let Some(name) = current {
            found.entry(name).or_default().extend(words(body));
        }
    }
    found
}

/// "NAME.1: body" or "NAME: body".
fn definition_start(line: &str) -> Option<(&str, &str)> {
    let (head, body) = line.split_once(':')?;
    let name = head.split(['.', '{', '[']).next()?.trim().trim_start_matches(['!', '?']);
    let is_name = !name.is_empty() && name.bytes().all(is_word_byte);
    is_name.then_some((name, body))
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

fn is_terminal(word: &str) -> bool {
    word.trim_start_matches('_').starts_with(|c: char| c.is_ascii_uppercase())
}

/// Names of terminals, also where they stand in strings and comments: too many do no harm.
fn words(body: &str) -> impl Iterator<Item = &str> {
    body.split(|c: char| !c.is_ascii() || !is_word_byte(c as u8)).filter(|w| is_terminal(w))
}
