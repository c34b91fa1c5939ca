//! How a recorded request ended: by its status and by the words of the proxy that logged it, never by the text of an
//! error. What cannot be told goes to the side of doubt.

use serde_json::Value;

use super::Reject;
use super::config::{Format, Mapping};
use crate::plan::Statuses;
use crate::words::Failure;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By a definite answer.
    Definite(u16),
    /// In doubt, or never sent.
    Failed(Failure, Option<u16>),
}

/// Envoy's flags of a request that ran into a time limit.
const OUT_OF_TIME: &[&str] = &["UT", "DT", "SI", "UMSDR"];
/// Envoy's flags of a connection that broke under a request.
const BROKEN: &[&str] = &["UC", "UR", "LR", "DC", "DR", "UPE", "URX"];
/// Envoy's flags of a request that found no connection upstream, this time.
const NOT_CONNECTED: &[&str] = &["UF", "UH", "UO", "NR", "NC"];

/// Says how a record's request ended.
pub fn ending(mapping: &Mapping, statuses: &Statuses, record: &Value) -> Result<Ending, Reject> {
    let status = mapping.http_status.as_ref().and_then(|places| places.text(record));
    if let Some(word) = mapping.failure.as_ref().and_then(|places| places.text(record)) {
        return by_word(&word, status.as_deref(), statuses);
    }
    if let Some(flagged) = by_flags(mapping, record) {
        return Ok(flagged);
    }
    let Some(status) = status else {
        // A status that stands empty: no answer came. None at all: this is no record of a request.
        let stands = mapping.http_status.as_ref().is_some_and(|places| places.stands(record));
        return if stands { Ok(Ending::Failed(Failure::Network, None)) } else { Err(Reject::NoEnding) };
    };
    let status = number(&status)?;
    let cut = mapping.completion.as_ref().is_some_and(|places| {
        places.stands(record) && places.text(record).is_none_or(|text| !text.eq_ignore_ascii_case("ok"))
    });
    Ok(match (mapping.format, status) {
        (_, 0..200) => Ending::Failed(Failure::Network, None),
        (Some(Format::Nginx), 499 | 408) => Ending::Failed(Failure::Timeout, None),
        (Some(Format::Nginx), 444) => Ending::Failed(Failure::Network, None),
        (_, status) if in_doubt(statuses, status) => Ending::Failed(Failure::Http, Some(status)),
        _ if cut => Ending::Failed(Failure::Network, None),
        (_, status) => Ending::Definite(status),
    })
}

/// By the ledger's own word.
fn by_word(word: &str, status: Option<&str>, statuses: &Statuses) -> Result<Ending, Reject> {
    let failure: Failure = word.trim().parse().map_err(|_| Reject::Failure)?;
    let status = status.map(number).transpose();
    match failure {
        Failure::Http => match status? {
            Some(status) if in_doubt(statuses, status) => Ok(Ending::Failed(failure, Some(status))),
            _ => Err(Reject::NotInDoubt),
        },
        Failure::Answered => match status? {
            Some(status @ 200..500) => Ok(Ending::Definite(status)),
            _ => Err(Reject::NoAnswer),
        },
        _ => Ok(Ending::Failed(failure, None)),
    }
}

/// By Envoy's response flags. `None`: they do not say, the status does.
fn by_flags(mapping: &Mapping, record: &Value) -> Option<Ending> {
    let flags = mapping.response_flags.as_ref()?.text(record)?;
    let has = |list: &[&str]| flags.split(',').any(|flag| list.contains(&flag.trim()));
    let failure = if has(OUT_OF_TIME) {
        Failure::Timeout
    } else if has(BROKEN) {
        Failure::Network
    } else if has(NOT_CONNECTED) {
        // An earlier try of Envoy's may have gone out: without the count of its tries nobody knows.
        let tries = mapping.attempt_count.as_ref().and_then(|places| places.text(record));
        let once = tries.and_then(|tries| tries.trim().parse::<u32>().ok()).is_some_and(|tries| tries <= 1);
        let only = flags.split(',').all(|flag| NOT_CONNECTED.contains(&flag.trim()));
        if once && only { Failure::NotSent } else { Failure::Network }
    } else {
        return None;
    };
    Some(Ending::Failed(failure, None))
}

fn number(text: &str) -> Result<u16, Reject> {
    let status = text.trim().parse().map_err(|_| Reject::Status)?;
    if status < 600 { Ok(status) } else { Err(Reject::Status) }
}

/// 5xx, and what the plan lists.
fn in_doubt(statuses: &Statuses, status: u16) -> bool {
    let lists = [&statuses.as_network, &statuses.as_server_error, &statuses.turned_away];
    (500..600).contains(&status) || lists.iter().any(|list| list.contains(&status))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(format: Format, record: Value) -> String {
        let statuses = Statuses { as_network: vec![408, 499], turned_away: vec![429], ..Statuses::default() };
        match ending(&Mapping::default().complete(format), &statuses, &record) {
            Ok(Ending::Definite(status)) => format!("definite {status}"),
            Ok(Ending::Failed(failure, status)) => {
                format!("{failure} {}", status.unwrap_or(0)).trim_end_matches(" 0").to_owned()
            }
            Err(reject) => format!("rejected: {reject}"),
        }
    }

    #[test]
    fn endings_by_status() {
        for (status, expected) in [
            (json!(503), "http 503"),
            (json!("502"), "http 502"),
            (json!(201), "definite 201"),
            (json!(302), "definite 302"),
            (json!(412), "definite 412"),
            (json!(429), "http 429"),
            (json!(499), "http 499"),
            (json!(0), "network"),
            (json!("000"), "network"),
            (json!("-"), "network"),
            (json!(""), "network"),
            (json!(null), "network"),
            (json!(100), "network"),
        ] {
            assert_eq!(said(Format::Csv, json!({"http_status": status})), expected, "{status}");
        }
        for bad in [json!(600), json!("abc"), json!(-1), json!("99999999")] {
            assert!(said(Format::Csv, json!({"http_status": bad})).starts_with("rejected"), "{bad}");
        }
        assert!(said(Format::Csv, json!({"method": "POST"})).starts_with("rejected"));
    }

    #[test]
    fn endings_by_the_ledgers_words() {
        for (failure, status, expected) in [
            ("timeout", json!(null), "timeout"),
            ("not_sent", json!(null), "not_sent"),
            ("network", json!(200), "network"),
            ("http", json!(503), "http 503"),
            ("answered", json!(201), "definite 201"),
        ] {
            assert_eq!(said(Format::Jsonl, json!({"failure": failure, "http_status": status})), expected);
        }
        for (failure, status) in
            [("http", json!(201)), ("http", json!(null)), ("answered", json!(503)), ("oops", json!(1))]
        {
            let record = json!({"failure": failure, "http_status": status});
            assert!(said(Format::Jsonl, record).starts_with("rejected"), "{failure}");
        }
    }

    #[test]
    fn endings_by_envoys_flags() {
        for (flags, code, tries, expected) in [
            ("-", 503, json!(1), "http 503"),
            ("-", 201, json!(1), "definite 201"),
            ("UT", 504, json!(1), "timeout"),
            ("UC", 503, json!(1), "network"),
            ("LR", 503, json!(1), "network"),
            ("DC", 0, json!(1), "network"),
            ("DC", 200, json!(1), "network"),
            ("UF", 503, json!(1), "not_sent"),
            ("UH", 503, json!(0), "not_sent"),
            ("UF", 503, json!(2), "network"),
            ("UF", 503, json!(null), "network"),
            ("UF,URX", 503, json!(1), "network"),
            ("UF,XX", 503, json!(1), "network"),
            ("UF,UT", 504, json!(1), "timeout"),
            ("RL", 429, json!(1), "http 429"),
            ("ZZ", 0, json!(1), "network"),
        ] {
            let record = json!({"response_flags": flags, "response_code": code, "attempt_count": tries});
            assert_eq!(said(Format::Envoy, record), expected, "{flags} {code} {tries}");
        }
    }

    #[test]
    fn endings_by_nginxs_own_statuses() {
        for (record, expected) in [
            (json!({"status": 499}), "timeout"),
            (json!({"status": "408"}), "timeout"),
            (json!({"status": 444}), "network"),
            (json!({"status": 502}), "http 502"),
            (json!({"status": 201, "request_completion": "OK"}), "definite 201"),
            (json!({"status": 201, "request_completion": ""}), "network"),
            (json!({"status": 502, "request_completion": ""}), "http 502"),
        ] {
            assert_eq!(said(Format::Nginx, record.clone()), expected, "{record}");
        }
    }
}
