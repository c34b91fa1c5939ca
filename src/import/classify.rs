//! How a recorded request ended: by its status and by the words of the proxy that logged it, never by the text of an
//! error. What cannot be told goes to the side of doubt.

use serde_json::Value;

use super::Reject;
use super::config::{Format, Mapping, number_at, text_at};
use crate::plan::Statuses;
use crate::words::Failure;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By a definite answer.
    Definite(u16),
    /// By a definite answer to its last try, while an earlier one of the proxy's own may have been applied too.
    SentAgain(Failure, Option<u16>),
    /// By a success, of which the log does not tell whether it arrived whole.
    Unsure(u16),
    /// In doubt, or never sent.
    Failed(Failure, Option<u16>),
}

/// Envoy's flags of a request that ran into a time limit.
const OUT_OF_TIME: &[&str] = &["UT", "DT", "SI", "UMSDR"];
/// Envoy's flags of a connection that broke under a request.
const BROKEN: &[&str] = &["UC", "UR", "LR", "DC", "DR", "UPE", "URX"];
/// Of these, those that stand beside an answer of the server's own, too: the retries were used up, the client went away.
const BESIDE_AN_ANSWER: &[&str] = &["URX", "DC", "DR"];
/// Envoy's flags of a request that found no connection upstream, this time.
const NOT_CONNECTED: &[&str] = &["UF", "UH", "UO", "NR", "NC"];
/// Envoy's word for an answer that the server made.
const SERVERS_OWN: &str = "via_upstream";

/// Says how a record's request ended.
pub fn ending(mapping: &Mapping, statuses: &Statuses, record: &Value) -> Result<Ending, Reject> {
    let status = text_at(&mapping.http_status, record);
    if let Some(word) = text_at(&mapping.failure, record) {
        return by_word(&word, status.as_deref(), statuses);
    }
    if let Some(flagged) = by_flags(mapping, statuses, record, status.as_deref()) {
        return Ok(flagged);
    }
    let status = match status {
        Some(status) => number(&status)?,
        None if is_no_answer(mapping, record) => 0,
        None => return Err(Reject::NoEnding),
    };
    let cut = is_cut(mapping, record);
    Ok(match (mapping.format, status) {
        (_, 0..200) => {
            Ending::Failed(cut.filter(|failure| *failure == Failure::Timeout).unwrap_or(Failure::Network), None)
        }
        // nginx's own: the client gave up, or was too slow. The server's own are in the plan's list.
        (Some(Format::Nginx), 499 | 408) if !is_the_servers(mapping, record, status) => {
            Ending::Failed(Failure::Timeout, None)
        }
        (Some(Format::Nginx), 444) => Ending::Failed(Failure::Network, None),
        (_, status) if in_doubt(statuses, status) => Ending::Failed(Failure::Http, Some(status)),
        _ => match (cut, sent_before(mapping, statuses, record)) {
            (Some(failure), _) => Ending::Failed(failure, None),
            (None, Some((failure, status))) => Ending::SentAgain(failure, status),
            (None, None) if status < 300 && is_unsure(mapping, record) => Ending::Unsure(status),
            (None, None) => Ending::Definite(status),
        },
    })
}

/// A status that stands empty: no answer came. None at all: this is no record of a request, but for a HAR, whose entries
/// are requests all.
fn is_no_answer(mapping: &Mapping, record: &Value) -> bool {
    mapping.format == Some(Format::Har) || mapping.http_status.as_ref().is_some_and(|places| places.stands(record))
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
fn by_flags(mapping: &Mapping, statuses: &Statuses, record: &Value, status: Option<&str>) -> Option<Ending> {
    let flags = text_at(&mapping.response_flags, record)?;
    let has = |list: &[&str]| flags.split(',').any(|flag| list.contains(&flag.trim()));
    let only = |list: &[&str]| flags.split(',').all(|flag| list.contains(&flag.trim()));
    let servers = match text_at(&mapping.response_details, record) {
        Some(details) => details.trim() == SERVERS_OWN,
        None => only(BESIDE_AN_ANSWER),
    };
    if servers && status.and_then(|status| number(status).ok()).is_some_and(|status| in_doubt(statuses, status)) {
        return None;
    }
    let failure = if has(OUT_OF_TIME) {
        Failure::Timeout
    } else if has(BROKEN) {
        Failure::Network
    } else if has(NOT_CONNECTED) {
        // An earlier try of Envoy's may have gone out: without the count of its tries nobody knows.
        let once = tries(mapping, record).is_some_and(|tries| tries <= 1);
        if once && only(NOT_CONNECTED) { Failure::NotSent } else { Failure::Network }
    } else {
        return None;
    };
    Some(Ending::Failed(failure, None))
}

/// How often a proxy sent it, if it says so.
fn tries(mapping: &Mapping, record: &Value) -> Option<u32> {
    let retried = || number_at(&mapping.retries, record).map(|retries: u32| retries.saturating_add(1));
    number_at(&mapping.attempt_count, record).or_else(retried)
}

/// The status of each of nginx's own tries: `502, 201`, and ` : ` after a redirect within.
fn upstream_statuses(mapping: &Mapping, record: &Value) -> Vec<String> {
    let each = text_at(&mapping.upstream_status, record).unwrap_or_default();
    each.split([',', ':']).map(|status| status.trim().to_owned()).collect()
}

/// How an earlier try of the proxy's own ended that may have been applied. nginx tells the status of each, others only how
/// many there were.
fn sent_before(mapping: &Mapping, statuses: &Statuses, record: &Value) -> Option<(Failure, Option<u16>)> {
    let each = upstream_statuses(mapping, record);
    let (_, earlier) = each.split_last()?;
    let doubtful = earlier.iter().filter_map(|text| match number(text) {
        Ok(status @ 200..) if in_doubt(statuses, status) => Some((Failure::Http, Some(status))),
        Ok(200..) => None,
        _ => Some((Failure::Network, None)),
    });
    // The longest window wins: of a 5xx.
    let worst = doubtful.max_by_key(|(_, status)| *status);
    worst.or_else(|| tries(mapping, record).filter(|tries| *tries > 1).map(|_| (Failure::Network, None)))
}

/// Whether the server answered with this status itself.
fn is_the_servers(mapping: &Mapping, record: &Value, status: u16) -> bool {
    upstream_statuses(mapping, record).last().is_some_and(|last| number(last) == Ok(status))
}

/// How an answer was cut, or the exchange given up. `None`: nothing says so.
fn is_cut(mapping: &Mapping, record: &Value) -> Option<Failure> {
    if mapping.format == Some(Format::Har)
        && (text_at(&mapping.error, record).is_some() || record.pointer("/response/_cut") == Some(&true.into()))
    {
        return Some(Failure::Network);
    }
    if let (Some(announced), Some(received)) = lengths(mapping, record)
        && received < announced
    {
        return Some(Failure::Network);
    }
    by_completion(mapping.format, mapping.completion.as_ref()?.word(record)?.trim())
}

/// The words of nginx (`OK` or nothing), of Apache (`+` and `-` for whole, `X` for cut) and of HAProxy: two letters (four
/// with cookies), `--` for whole, the first of them who ended the session, in small letters a time limit.
fn by_completion(format: Option<Format>, word: &str) -> Option<Failure> {
    let nginx = format == Some(Format::Nginx);
    match word.as_bytes() {
        [b'o' | b'O', b'k' | b'K'] => None,
        [b'+'] => None,
        [b'-'] if !nginx => None,
        [b'-', b'-'] | [b'-', b'-', _, _] => None,
        [b'c' | b's', _] | [b'c' | b's', _, _, _] => Some(Failure::Timeout),
        _ => Some(Failure::Network),
    }
}

/// How long an answer was announced to be, and how much of it came.
fn lengths(mapping: &Mapping, record: &Value) -> (Option<u64>, Option<u64>) {
    (number_at(&mapping.answer_announced, record), number_at(&mapping.answer_received, record))
}

/// Whether a log says nothing of how an answer arrived. With both lengths, and equal, it does.
fn is_unsure(mapping: &Mapping, record: &Value) -> bool {
    let (announced, received) = lengths(mapping, record);
    mapping.cut_unseen == Some(true) && (announced.is_none() || announced != received)
}

/// A status; none (`-1`, as browsers and HAProxy write it) is 0. pandas writes whole numbers as `503.0`.
fn number(text: &str) -> Result<u16, Reject> {
    let text = text.trim();
    let text = text.strip_suffix(".0").unwrap_or(text);
    if text == "-1" {
        return Ok(0);
    }
    let status = text.parse().map_err(|_| Reject::Status)?;
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
    use crate::import::config::Places;
    use serde_json::json;

    fn said(format: Format, record: Value) -> String {
        let statuses = Statuses { as_network: vec![408, 499], turned_away: vec![429], ..Statuses::default() };
        match ending(&Mapping::default().complete(format), &statuses, &record) {
            Ok(Ending::Definite(status)) => format!("definite {status}"),
            Ok(Ending::Unsure(status)) => format!("unsure {status}"),
            Ok(Ending::SentAgain(failure, status)) => format!("again: {}", words(failure, status)),
            Ok(Ending::Failed(failure, status)) => words(failure, status),
            Err(reject) => format!("rejected: {reject}"),
        }
    }

    fn words(failure: Failure, status: Option<u16>) -> String {
        format!("{failure} {}", status.unwrap_or(0)).trim_end_matches(" 0").to_owned()
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
        for (status, expected) in [
            ("503.0", "http 503"),
            ("201.0", "definite 201"),
            ("-1", "network"),
            ("nan", "network"),
            ("\\N", "network"),
        ] {
            assert_eq!(said(Format::Csv, json!({"http_status": status})), expected, "{status}");
        }
        for bad in [json!(600), json!("abc"), json!(-2), json!("99999999"), json!("503.5"), json!("5.03E+02")] {
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
            ("URX", 503, json!(3), "http 503"),
            ("DC", 500, json!(1), "http 500"),
            ("DR", 503, json!(1), "http 503"),
            ("URX", 429, json!(2), "http 429"),
            ("-", 201, json!(2), "again: network"),
            ("-", 412, json!(3), "again: network"),
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
            (json!({"status": 201, "request_completion": "OK"}), "unsure 201"),
            (json!({"status": 412, "request_completion": "OK"}), "definite 412"),
            (json!({"status": 201, "request_completion": "-"}), "network"),
            (json!({"status": 201, "upstream_status": "502, 201"}), "again: http 502"),
            (json!({"status": 201, "upstream_status": "502, 504 : 201"}), "again: http 504"),
            (json!({"status": 412, "upstream_status": "-, 412"}), "again: network"),
            (json!({"status": 412, "upstream_status": "404, 412"}), "definite 412"),
            (json!({"status": 412, "upstream_status": "412"}), "definite 412"),
            (json!({"status": 502, "upstream_status": "502, 502"}), "http 502"),
            (json!({"status": "009", "upstream_status": "200"}), "network"),
            (json!({"status": 499, "upstream_status": "-"}), "timeout"),
            (json!({"status": 499, "upstream_status": "499"}), "http 499"),
            (
                json!({"status": 201, "upstream_http_content_length": "12", "upstream_response_length": "12"}),
                "definite 201",
            ),
            (json!({"status": 201, "upstream_http_content_length": "12", "upstream_response_length": "5"}), "network"),
            (json!({"status": 201, "upstream_http_content_length": "", "upstream_response_length": "5"}), "unsure 201"),
            (json!({"status": 201, "request_completion": ""}), "network"),
            (json!({"status": 502, "request_completion": ""}), "http 502"),
        ] {
            assert_eq!(said(Format::Nginx, record.clone()), expected, "{record}");
        }
    }

    #[test]
    fn an_answer_of_the_servers_own_keeps_its_status_beside_envoys_flags() {
        for (flags, details, status, expected) in [
            ("URX", "via_upstream", 503, "http 503"),
            ("UT", "via_upstream", 504, "http 504"),
            ("UC", "via_upstream", 502, "http 502"),
            ("UT", "upstream_response_timeout", 504, "timeout"),
            ("URX", "upstream_reset_before_response_started{connection_termination}", 503, "network"),
            ("UC", "via_upstream", 201, "network"),
            ("UF", "upstream_reset_before_response_started{connection_failure}", 503, "not_sent"),
        ] {
            let record = json!({"response_flags": flags, "response_code": status, "response_code_details": details, "attempt_count": 1});
            assert_eq!(said(Format::Envoy, record), expected, "{flags} {details}");
        }
    }

    #[test]
    fn endings_of_hars() {
        for (response, more, expected) in [
            (json!({"status": 201}), json!(null), "definite 201"),
            (json!({"status": 201, "_error": null}), json!(""), "definite 201"),
            (json!({"status": 201, "_error": "net::ERR_INCOMPLETE_CHUNKED_ENCODING"}), json!(null), "network"),
            (json!({"status": 200, "_failureText": "net::ERR_ABORTED"}), json!(null), "network"),
            (json!({"status": 201}), json!("Response body aborted"), "network"),
            (json!({"status": 201, "_cut": true}), json!(null), "network"),
            (json!({"status": 503, "_error": "x"}), json!(null), "http 503"),
            (json!({"status": -1}), json!(null), "network"),
            (json!({"status": null}), json!(null), "network"),
            (json!({}), json!(null), "network"),
            (json!(null), json!(null), "network"),
        ] {
            let record = json!({"response": response, "_error": more});
            assert_eq!(said(Format::Har, record.clone()), expected, "{record}");
        }
        assert_eq!(said(Format::Har, json!({"request": {}})), "network");
    }

    #[test]
    fn endings_by_the_words_of_haproxy_and_apache() {
        for (word, expected) in [
            ("--", "definite 201"),
            ("----", "definite 201"),
            ("--VN", "definite 201"),
            ("SD", "network"),
            ("CD", "network"),
            ("sD", "timeout"),
            ("cDVN", "timeout"),
            ("SDNI", "network"),
            ("PH", "network"),
            ("X", "network"),
            ("+", "definite 201"),
            ("-", "definite 201"),
            ("", "network"),
            ("OK", "definite 201"),
            ("whatever", "network"),
        ] {
            let mapping = Mapping { completion: Places::of("done").ok(), ..Mapping::default() }.complete(Format::Jsonl);
            let found = ending(&mapping, &Statuses::default(), &json!({"status": 201, "done": word}));
            let expected = match expected {
                "network" => Ending::Failed(Failure::Network, None),
                "timeout" => Ending::Failed(Failure::Timeout, None),
                _ => Ending::Definite(201),
            };
            assert_eq!(found, Ok(expected), "{word}");
        }
    }
}
