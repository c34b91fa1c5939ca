//! The query of a recorded URL, as far as the plan reads it. One server takes a raw `+` as a space and another as it is;
//! of a parameter that is there twice one takes the first value and another the last. Which of them the server did is
//! written nowhere, so every reading is looked up.

use std::collections::{BTreeMap, BTreeSet};

use super::file::{Effect as EffectPlan, Operation, Source};
use super::read::{Bad, Probe, Understood};
use super::template::{Template, percent_decode};
use crate::evidence::{Effect, Kind};

/// More readings than this are not looked up, in case somebody writes a query of thousands of parameters.
const MOST_READINGS: usize = 8;

/// Values of parameters by their variables' names (`query_email`).
pub(super) type Values = BTreeMap<String, String>;

/// Every way to read a query, as far as the operation reads it. One, where all servers read the same.
///
/// # Errors
/// When a parameter is no UTF-8, or there are too many ways.
pub(super) fn readings(operation: &Operation, query: &str) -> Result<Vec<Values>, Bad> {
    let read: BTreeSet<&str> = templates(operation).flat_map(Template::variables).collect();
    let mut given: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let variable = percent_decode(&name.replace('+', " ")).map(|name| format!("query_{name}"));
        if let Some(variable) = variable.filter(|variable| read.contains(variable.as_str())) {
            given.entry(variable).or_default().push(value);
        }
    }
    let most = given.values().map(Vec::len).max().unwrap_or(1);
    let mut readings = Vec::new();
    for (which, plus) in (0..most).take(MOST_READINGS + 1).flat_map(|which| [(which, " "), (which, "+")]) {
        let reading = given.iter().map(|(variable, values)| {
            let value = values[which.min(values.len() - 1)].replace('+', plus);
            let not_text = || format!("`url`: its query parameter `{}` is not UTF-8", &variable["query_".len()..]);
            Ok((variable.clone(), percent_decode(&value).ok_or_else(not_text)?))
        });
        let reading = reading.collect::<Result<Values, Bad>>()?;
        if !readings.contains(&reading) {
            readings.push(reading);
        }
    }
    match readings.len() {
        0..=MOST_READINGS => Ok(readings),
        _ => Err(format!("`url`: servers may read its query in more than {MOST_READINGS} ways")),
    }
}

fn templates(operation: &Operation) -> impl Iterator<Item = &Template> {
    operation.effects.iter().flat_map(|EffectPlan { keys, owner, sets, .. }| {
        let sources = keys.iter().chain(owner).flat_map(|key| &key.value);
        let sources = sources.chain(sets.iter().flat_map(|set| &set.value));
        let of_url = sources.filter_map(|source| match source {
            Source::Url(template) => Some(template),
            Source::Body(_) => None,
        });
        of_url.chain(sets.iter().map(|set| &set.record))
    })
}

/// What a request is understood as, whichever way its URL was read: each effect, and behind it as alternatives what it is
/// by the other readings.
///
/// # Errors
/// When the readings are requests of different kinds, or a list is counted in that a reading alone names.
pub(super) fn merged(readings: Vec<Understood>) -> Result<Understood, Bad> {
    let mut readings = readings.into_iter();
    let Some(mut merged) = readings.next() else { return Ok(Understood::nothing()) };
    let mut places: Vec<Vec<(Effect, Option<Probe>)>> = merged.effects.drain(..).map(|effect| vec![effect]).collect();
    for other in readings {
        if other.effects.len() != places.len() {
            return Err(in_two_ways());
        }
        for (place, (effect, probe)) in places.iter_mut().zip(other.effects) {
            let raw = |probe: &Option<Probe>| probe.as_ref().map(|probe| probe.raw.clone());
            if place.iter().any(|(known, by)| *known == effect && raw(by) == raw(&probe)) {
                continue;
            }
            let (first, _) = &place[0];
            // Records are counted by list: a request that may belong to one of two counts in neither.
            if effect.kind != first.kind || effect.kind == Kind::Member || effect.owner != first.owner {
                return Err(in_two_ways());
            }
            place.push((effect, probe));
        }
    }
    for place in places {
        merged.repeat_blocked &= place.len() == 1;
        let marked = place.into_iter().enumerate();
        merged.effects.extend(marked.map(|(n, (effect, probe))| (Effect { alternative: n > 0, ..effect }, probe)));
    }
    Ok(merged)
}

fn in_two_ways() -> Bad {
    "`url`: servers read its query in two ways (a raw `+`, or a parameter that is there twice), and these are different requests"
        .to_owned()
}

#[cfg(test)]
mod tests {
    use url::Url;

    use crate::clock::Moment;
    use crate::evidence::Class;
    use crate::plan::template::Vars;
    use crate::plan::{Plan, Reader, Reading, Row, SHIPPED};

    fn read_under(plan: &str, method: &str, path: &str, body: &str) -> Reading {
        let plan = Plan::load("plan", plan, &Vars::new()).unwrap();
        let server = Url::parse("http://127.0.0.1:1").unwrap();
        let reader = Reader { plan: &plan, server: &server, salt: b"salt", also: &[] };
        let row = Row::lost("r1", method, &format!("http://127.0.0.1:1{path}"), body);
        reader.read(&row, Moment(1_800_000_000_000))
    }

    /// The keys that a delete by query is looked up by, or why it cannot be read.
    fn keys(query: &str) -> Result<Vec<String>, String> {
        let read = read_under(SHIPPED[0].1, "DELETE", &format!("/api/v1.0/account?{query}"), "");
        match read.facts.class {
            Class::Planned => {
                let marks: Vec<bool> = read.facts.effects.iter().map(|effect| effect.alternative).collect();
                let expected: Vec<bool> = (0..marks.len()).map(|n| n > 0).collect();
                assert_eq!(marks, expected, "{query}");
                assert!(!read.facts.repeat_blocked);
                Ok(read.probes.into_iter().map(|probe| probe.unwrap().raw).collect())
            }
            Class::BadRow { why } => Err(why),
            class => Err(format!("{class:?}")),
        }
    }

    #[test]
    fn a_raw_plus_is_a_plus_or_a_space() {
        assert_eq!(keys("email=ann%2Bkid@x.com").unwrap(), ["ann+kid@x.com"]);
        assert_eq!(keys("email=ann%20kid%40x.com").unwrap(), ["ann kid@x.com"]);
        assert_eq!(keys("email=ann+kid@x.com").unwrap(), ["ann kid@x.com", "ann+kid@x.com"]);
        assert_eq!(keys("email=ann+kid%2B1%40x.com").unwrap(), ["ann kid+1@x.com", "ann+kid+1@x.com"]);
        assert_eq!(keys("e%6Dail=a+b+c@x.com&x=1+2").unwrap(), ["a b c@x.com", "a+b+c@x.com"]);
        // What the plan does not read is read in no way.
        assert_eq!(keys("email=ann@x.com&note=a+b&note=c").unwrap(), ["ann@x.com"]);
    }

    #[test]
    fn of_a_parameter_that_is_there_twice_every_value_is_looked_up() {
        assert_eq!(keys("email=a@x.com&email=b@x.com").unwrap(), ["a@x.com", "b@x.com"]);
        assert_eq!(keys("email=a@x.com&x=1&email=a%40x.com").unwrap(), ["a@x.com"]);
        assert_eq!(keys("email=a@x.com&email=b@x.com&%65mail=c@x.com").unwrap(), ["a@x.com", "b@x.com", "c@x.com"]);
        assert_eq!(keys("email=a+b@x.com&email=c@x.com").unwrap(), ["a b@x.com", "a+b@x.com", "c@x.com"]);
        assert_eq!(keys("service_id=1&service_id=2&email=a@x.com").unwrap(), ["1", "2"]);
        assert!(keys("email=a@x.com&email=").unwrap_err().contains("the key of `account` is missing"));
        let many: Vec<String> = (0..9).map(|n| format!("email={n}@x.com")).collect();
        assert!(keys(&many.join("&")).unwrap_err().contains("more than 8 ways"));
    }

    #[test]
    fn what_is_no_text_is_read_in_no_way() {
        let said = keys("email=ren%E9@x.com").unwrap_err();
        assert!(said.contains("`email` is not UTF-8") && !said.contains("ren"), "{said}");
        assert_eq!(keys("email=ann@x.com&note=%E9").unwrap(), ["ann@x.com"]);
    }

    #[test]
    fn a_list_that_only_one_reading_names_is_a_bad_row() {
        let plan =
            SHIPPED[0].1.replace(r#"value = ["$.parentEmail", "$.parent_email"] }"#, r#"value = ["{query_parent}"] }"#);
        let read = |query: &str, body: &str| {
            let plan = plan.replace(r#""$.parentEmail", "$.parent_email"]]"#, r#""$.first_name"]]"#);
            read_under(&plan, "POST", &format!("/api/v1.0/account?{query}"), body).facts.class
        };
        assert_eq!(read("parent=mum%2B1@x.com", r#"{"first_name":"Kim"}"#), Class::Planned);
        for query in ["parent=mum+1@x.com", "parent=a@x.com&parent=b@x.com"] {
            for body in [r#"{"first_name":"Kim"}"#, r#"{"first_name":"Kim","user_name":"kim1"}"#] {
                assert!(matches!(read(query, body), Class::BadRow { .. }), "{query} {body}");
            }
        }
    }

    #[test]
    fn keys_keep_their_digits_and_are_never_guessed() {
        let key = |value: &str| {
            let body = format!("{{\"external_user_identifier\":{value}}}");
            let read = read_under(SHIPPED[0].1, "POST", "/api/v1.0/account", &body);
            match read.facts.class {
                Class::Planned => Ok(read.probes[0].as_ref().unwrap().raw.clone()),
                Class::BadRow { why } => Err(why),
                class => Err(format!("{class:?}")),
            }
        };
        for digits in ["42", "-7", "9007199254740993", "18446744073709551616", "12345678901234567890123"] {
            assert_eq!(key(digits).as_deref(), Ok(digits));
            assert_eq!(key(&format!("\"{digits}\"")).as_deref(), Ok(digits));
        }
        for (unsure, what) in [
            ("42.0", "a fraction"),
            ("1e3", "exponent"),
            ("42.10", "fraction"),
            ("1E21", "exponent"),
            ("true", "true or"),
            ("-0", ""),
        ] {
            let said = key(unsure).unwrap_err();
            assert!(
                said.contains(what) && said.contains("send it as text") && (unsure == "true" || !said.contains(unsure)),
                "{said}"
            );
            assert_eq!(key(&format!("\"{unsure}\"")).as_deref(), Ok(unsure), "as a text it says one thing");
        }
    }

    #[test]
    fn a_name_said_twice_is_a_bad_row_wherever_it_stands() {
        let class = |body: &str| read_under(SHIPPED[0].1, "POST", "/api/v1.0/account", body).facts.class;
        assert_eq!(class(r#"{"email":"a@x.com"}"#), Class::Planned);
        for body in [
            r#"{"email":"a@x.com","email":"b@x.com"}"#,
            r#"{"email":"a@x.com","em\u0061il":"a@x.com"}"#,
            r#"{"email":"a@x.com","attributes":[{"name":"displayName","value":"x","value":"y"}]}"#,
        ] {
            assert!(matches!(class(body), Class::BadRow { .. }), "{body}");
        }
    }
}
