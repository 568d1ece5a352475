//! Chat templates: Jinja as `transformers` renders it, under limits that hold for any template.
//!
//! - fuel bounds the work and, with it, the memory of a render (minijinja charges for data as well);
//! - what fuel does not see is bounded by the sandbox (sandbox.rs), on whose thread all of it runs;
//! - nothing of the machine is reachable but the current time.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde};
use minijinja::{filters, Environment, Error, ErrorKind, State, UndefinedBehavior, Value};
use minijinja_contrib::pycompat::unknown_method_callback;
use serde_json::{Map, Value as Json};

use crate::python_json;
use crate::sandbox::{self, Failure};
use crate::strftime::{self, Clock};

const MAX_SOURCE_BYTES: usize = 1 << 20;
const MAX_INPUT_BYTES: usize = 16 << 20;
const MAX_OUTPUT_BYTES: usize = 64 << 20;
/// Fuel of a render: a fixed part for the template and one that grows with what it is given.
const BASE_FUEL: u64 = 1_000_000;
const FUEL_PER_INPUT_BYTE: u64 = 16;
const MAX_FUEL: u64 = 4_000_000;
const BASE_MEMORY: usize = 256 << 20;
const MEMORY_PER_INPUT_BYTE: usize = 32;
/// Renders that had to be given up before a template is refused altogether: each leaves a thread.
const MAX_PARKED: u32 = 3;
const NAME: &str = "chat_template";

pub struct ChatTemplate {
    environment: Arc<Environment<'static>>,
    bos_token: String,
    eos_token: String,
    parked: AtomicU32,
}

impl ChatTemplate {
    pub fn parse(source: &str, bos: &str, eos: &str, clock: Clock) -> Result<Self, String> {
        check_size("source", source.len(), MAX_SOURCE_BYTES)?;
        let source = without_generation_tags(source);
        let parsed = sandbox::run(BASE_MEMORY, move || {
            let mut environment = environment(clock);
            environment.add_template_owned(NAME, source).map_err(|e| describe(&e))?;
            Ok(environment)
        });
        Ok(ChatTemplate {
            environment: Arc::new(parsed.map_err(|failure| reason(&failure))?),
            bos_token: bos.to_owned(),
            eos_token: eos.to_owned(),
            parked: AtomicU32::new(0),
        })
    }

    /// `input` is a JSON object: messages, tools, add_generation_prompt and any other variable.
    pub fn render(&self, input: &str) -> Result<String, String> {
        check_size("input", input.len(), MAX_INPUT_BYTES)?;
        if self.parked.load(Ordering::Relaxed) >= MAX_PARKED {
            return Err("refused, it exceeded its limits before".to_owned());
        }
        let variables: Json = serde_json::from_str(input).map_err(|e| format!("input: {e}"))?;
        let Json::Object(mut variables) = variables else {
            return Err("input: expected a JSON object".to_owned());
        };
        self.add_defaults(&mut variables);
        let fuel = (BASE_FUEL + FUEL_PER_INPUT_BYTE * input.len() as u64).min(MAX_FUEL);
        let environment = self.environment.clone();
        let memory = BASE_MEMORY + MEMORY_PER_INPUT_BYTE * input.len();
        let output = sandbox::run(memory, move || run(&environment, variables, fuel));
        let output = output.map_err(|failure| {
            if matches!(failure, Failure::Parked(_)) {
                self.parked.fetch_add(1, Ordering::Relaxed);
            }
            reason(&failure)
        })?;
        check_size("output", output.len(), MAX_OUTPUT_BYTES)?;
        Ok(output)
    }

    /// What transformers always passes.
    fn add_defaults(&self, variables: &mut Map<String, Json>) {
        for (name, value) in [
            ("tools", Json::Null),
            ("documents", Json::Null),
            ("add_generation_prompt", Json::Bool(false)),
            ("bos_token", Json::String(self.bos_token.clone())),
            ("eos_token", Json::String(self.eos_token.clone())),
        ] {
            variables.entry(name).or_insert(value);
        }
    }
}

fn check_size(what: &str, bytes: usize, limit: usize) -> Result<(), String> {
    if bytes > limit {
        return Err(format!("{what}: found {bytes} bytes, expected at most {limit}"));
    }
    Ok(())
}

fn reason(failure: &Failure) -> String {
    match failure {
        Failure::Work(message) => message.clone(),
        Failure::Parked(limit) => limit.to_string(),
    }
}

fn run(
    environment: &Environment<'static>,
    variables: Map<String, Json>,
    fuel: u64,
) -> Result<String, String> {
    let mut environment = environment.clone();
    environment.set_fuel(Some(fuel));
    let template = environment.get_template(NAME).map_err(|e| describe(&e))?;
    template.render(Value::from(Serde(&variables))).map_err(|e| describe(&e))
}

fn environment(clock: Clock) -> Environment<'static> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.expect("the default delimiters are valid"));
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_unknown_method_callback(unknown_method_callback);
    environment.set_recursion_limit(200);
    environment.add_filter("tojson", python_json::tojson);
    environment.add_filter("int", int_or_default);
    environment.add_filter("float", float_or_default);
    environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, format!("{RAISED}{message}")))
    });
    environment.add_function("strftime_now", move |format: String| -> Result<String, Error> {
        strftime::format_now(clock, &format)
            .map_err(|e| Error::new(ErrorKind::InvalidOperation, format!("strftime_now: {e}")))
    });
    environment
}

/// Jinja2's `int` gives its default, 0, for what is no number; minijinja's is an error then.
fn int_or_default(
    state: &State,
    value: &Value,
    default: Option<Value>,
    base: Option<u32>,
    options: Kwargs,
) -> Result<Value, Error> {
    let default = default_of(default, &options, Value::from(0))?;
    filters::int(state, value, Some(default), base, options)
}

fn float_or_default(
    state: &State,
    value: &Value,
    default: Option<Value>,
    options: Kwargs,
) -> Result<Value, Error> {
    let default = default_of(default, &options, Value::from(0.0))?;
    filters::float(state, value, Some(default), options)
}

fn default_of(given: Option<Value>, options: &Kwargs, usual: Value) -> Result<Value, Error> {
    match given {
        Some(value) => Ok(value),
        None => Ok(options.get::<Option<Value>>("default")?.unwrap_or(usual)),
    }
}

const RAISED: &str = "raise_exception: ";

fn describe(error: &Error) -> String {
    let place = error.line().map_or(String::new(), |line| format!("line {line}: "));
    if error.kind() == ErrorKind::OutOfFuel {
        return format!("{place}too much work or output for one prompt");
    }
    let mut text = match error.detail() {
        Some(detail) if detail.starts_with(RAISED) => detail[RAISED.len()..].to_owned(),
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    };
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text.push_str(&format!(": {inner}"));
        source = inner.source();
    }
    format!("{place}{text}")
}

/// `{% generation %}` marks the assistant's words for training and prints what it encloses.
fn without_generation_tags(source: &str) -> String {
    let mut output = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start + 2);
        output.push_str(before);
        rest = tag;
        let inside = tag.trim_start_matches(['-', '+']).trim_start();
        for (name, instead) in [("generation", "if true"), ("endgeneration", "endif")] {
            let closes =
                |after: &str| after.trim_start().trim_start_matches(['-', '+']).starts_with("%}");
            if let Some(after) = inside.strip_prefix(name).filter(|after| closes(after)) {
                output.push_str(&tag[..tag.len() - inside.len()]);
                output.push_str(instead);
                rest = after;
                break;
            }
        }
    }
    output.push_str(rest);
    output
}
