//! Values of one entry as an effect of the plan reads them: keys, compared fields, new values.

use serde_json::Value;

use super::file::{Effect as EffectPlan, Key, Set, Source};
use super::parts::{Path, identifier, path_literal};
use super::read::{Bad, SetProbe};
use super::template::Vars;

/// The first of a key's values that the entry has.
///
/// # Errors
/// When servers write that value in more than one way.
pub(super) fn find(key: &Key, element: &Value, vars: &Vars) -> Result<Option<String>, Bad> {
    key.value.iter().find_map(|source| value_of(source, element, vars).transpose()).transpose().map_err(|what| {
        format!(
            "a key for the lookup `{}` is {what}, which servers read in more than one way; send it as text",
            key.lookup.as_ref()
        )
    })
}

fn value_of(source: &Source, element: &Value, vars: &Vars) -> Result<Option<String>, &'static str> {
    match source {
        Source::Body(path) => path.first(element).map_or(Ok(None), identifier),
        Source::Url(template) => Ok(template.fill(vars, str::to_owned).filter(|text| !text.trim().is_empty())),
    }
}

/// The compared fields, each as the entry has it: whether it can be read is seen when it is compared.
pub(super) fn compared(plan: &EffectPlan, element: &Value) -> Vec<(String, Option<Value>)> {
    let value =
        |paths: &[Path]| paths.iter().find_map(|path| path.first(element).filter(|value| says_something(value)));
    plan.compare.iter().map(|(field, paths)| (field.clone(), value(paths).cloned())).collect()
}

/// An empty text is as good as none.
fn says_something(value: &Value) -> bool {
    value.as_str().is_none_or(|text| !text.trim().is_empty())
}

/// The fields that are written, as far as the request has them.
///
/// # Errors
/// When it has none of them.
pub(super) fn set_probes(plan: &EffectPlan, element: &Value, vars: &Vars) -> Result<Vec<SetProbe>, Bad> {
    let sent = |set: &Set| {
        set.value.iter().find_map(|source| match source {
            Source::Body(path) => path.first(element).filter(|value| says_something(value)).cloned(),
            Source::Url(template) => template.fill(vars, str::to_owned).map(Value::String).filter(says_something),
        })
    };
    let given: Vec<(&Set, Value)> = plan.sets.iter().filter_map(|set| Some((set, sent(set)?))).collect();
    if given.is_empty() && !plan.sets.is_empty() {
        let fields: Vec<&str> = plan.sets.iter().map(|set| set.field.as_str()).collect();
        return Err(format!(
            "`body` has none of the fields that the plan knows of `{}`: {}",
            plan.name,
            fields.join(", ")
        ));
    }
    given
        .into_iter()
        .map(|(set, sent)| {
            let path =
                set.record.fill(vars, path_literal).ok_or_else(|| format!("field `{}` lacks a variable", set.field))?;
            let record =
                Path::try_from(path).map_err(|_| format!("field `{}` names no place in a record", set.field))?;
            Ok(SetProbe { field: set.field.clone(), record, form: set.form, sent, before: set.before.clone() })
        })
        .collect()
}
