//! The `tojson` filter of chat templates: Python's `json.dumps(x, ensure_ascii=False, ...)`, byte for
//! byte, since models were trained on what it prints. Nothing is escaped for HTML.

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

const MAX_DEPTH: usize = 200;

pub fn tojson(
    state: &State,
    value: Value,
    indent: Option<Value>,
    options: Kwargs,
) -> Result<Value, Error> {
    let indent = match indent {
        Some(indent) => Some(indent),
        None => options.get::<Option<Value>>("indent")?,
    };
    let indent = indent_text(indent.filter(|i| !i.is_none() && !i.is_undefined()))?;
    let (mut item, mut key) = if indent.is_some() {
        (",".to_owned(), ": ".to_owned())
    } else {
        (", ".to_owned(), ": ".to_owned())
    };
    if let Some(separators) = options.get::<Option<Vec<String>>>("separators")? {
        let [i, k] = <[String; 2]>::try_from(separators)
            .map_err(|_| error("tojson: separators must be two strings"))?;
        (item, key) = (i, k);
    }
    let mut writer = Writer {
        state,
        out: String::new(),
        charged: 0,
        indent,
        item_separator: item,
        key_separator: key,
        ascii: options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        sort_keys: options.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
    };
    options.assert_all_used()?;
    writer.value(&value, 0)?;
    Ok(Value::from_safe_string(writer.out))
}

fn error(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

/// A number of spaces or the text itself.
fn indent_text(indent: Option<Value>) -> Result<Option<String>, Error> {
    const MAX_INDENT: i64 = 64;
    let Some(indent) = indent else { return Ok(None) };
    if let Some(text) = indent.as_str() {
        return Ok(Some(text.to_owned()));
    }
    match indent.as_i64() {
        Some(width) if width <= MAX_INDENT => Ok(Some(" ".repeat(width.max(0) as usize))),
        _ => Err(error(format!("tojson: indent is {indent}, expected at most {MAX_INDENT}"))),
    }
}

struct Writer<'a, 'env, 'state> {
    state: &'a State<'env, 'state>,
    out: String,
    charged: usize, // bytes of `out` that fuel was paid for
    indent: Option<String>,
    item_separator: String,
    key_separator: String,
    ascii: bool,
    sort_keys: bool,
}

impl Writer<'_, '_, '_> {
    /// Shared values can make the text exponentially longer than the template: pay as it grows.
    fn charge(&mut self) -> Result<(), Error> {
        let new_bytes = self.out.len() - self.charged;
        self.charged = self.out.len();
        self.state.consume_fuel(1 + new_bytes as u64 / 32)
    }

    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        self.charge()?;
        if depth > MAX_DEPTH {
            return Err(error(format!("tojson: values are nested deeper than {MAX_DEPTH}")));
        }
        match value.kind() {
            ValueKind::None => self.out.push_str("null"),
            ValueKind::Bool => self.out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.out.push_str(&number(value)),
            ValueKind::String => self.string(value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => self.list(value, depth)?,
            ValueKind::Map => self.object(value, depth)?,
            other => {
                return Err(error(format!("tojson: a value of type {other} has no JSON form")))
            }
        }
        Ok(())
    }

    fn list(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        self.out.push('[');
        let mut is_empty = true;
        for item in value.try_iter()?.checked() {
            self.before_item(is_empty, depth);
            is_empty = false;
            self.value(&item?, depth + 1)?;
        }
        self.close(']', is_empty, depth);
        Ok(())
    }

    fn object(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        self.out.push('{');
        let mut keys = value.try_iter()?.checked().collect::<Result<Vec<Value>, Error>>()?;
        if self.sort_keys {
            keys.sort();
        }
        for (index, key) in keys.iter().enumerate() {
            self.before_item(index == 0, depth);
            match key.kind() {
                ValueKind::String => self.string(key.as_str().unwrap_or_default()),
                ValueKind::None => self.out.push_str("\"null\""),
                ValueKind::Bool => {
                    self.out.push_str(if key.is_true() { "\"true\"" } else { "\"false\"" })
                }
                ValueKind::Number => self.string(&number(key)),
                other => {
                    return Err(error(format!("tojson: a key of type {other} has no JSON form")))
                }
            }
            self.out.push_str(&self.key_separator);
            self.value(&value.get_item(key)?, depth + 1)?;
        }
        self.close('}', keys.is_empty(), depth);
        Ok(())
    }

    fn before_item(&mut self, is_first: bool, depth: usize) {
        if !is_first {
            self.out.push_str(&self.item_separator);
        }
        self.new_line(depth + 1);
    }

    fn close(&mut self, bracket: char, is_empty: bool, depth: usize) {
        if !is_empty {
            self.new_line(depth);
        }
        self.out.push(bracket);
    }

    fn new_line(&mut self, depth: usize) {
        if let Some(indent) = &self.indent {
            self.out.push('\n');
            (0..depth).for_each(|_| self.out.push_str(indent));
        }
    }

    fn string(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                c if (c as u32) < 0x20 || (self.ascii && !(' '..='~').contains(&c)) => {
                    let mut units = [0u16; 2];
                    for unit in c.encode_utf16(&mut units) {
                        self.out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }
}

fn number(value: &Value) -> String {
    if value.is_integer() {
        return value.to_string();
    }
    match f64::try_from(value.clone()) {
        Ok(x) => float(x),
        Err(_) => value.to_string(),
    }
}

/// Python's shortest form: 1.0, 1e-05, 1e+16, NaN.
pub fn float(x: f64) -> String {
    if x.is_nan() {
        return "NaN".to_owned();
    }
    if x.is_infinite() {
        return if x > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let scientific = format!("{x:e}"); // shortest digits, "1.5e-7"
    let (digits, exponent) = scientific.split_once('e').expect("has an exponent");
    let exponent: i32 = exponent.parse().expect("a number");
    if x != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let plain = format!("{x}");
    if plain.contains('.') {
        plain
    } else {
        plain + ".0"
    }
}
