//! Any text as a JSON path over any document, as a template, as a key: `PATH`, the document, one more text.

use privo_reconcile::plan::compare::Form;
use privo_reconcile::plan::parts::{Normalisation, Path, moment, normalise, path_literal};
use privo_reconcile::plan::template::{Template, Vars, percent_decode, percent_encode};
use privo_reconcile::words::Compared;
use serde_json::Value;

pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut parts = text.split('\u{1e}');
    let path = parts.next().unwrap_or_default();
    let document: Value = serde_json::from_str(parts.next().unwrap_or("null")).unwrap_or_default();
    let key = parts.next().unwrap_or_default();
    if let Ok(path) = Path::try_from(path.to_owned()) {
        paths_and_places_agree(&path, &document);
    }
    literals_stay_in_their_quotes(key);
    templates_come_back(path, key);
    keys_are_normal_once_normalised(key);
    for form in [Form::Text, Form::Name, Form::Date, Form::Key, Form::Set] {
        form.of(&document);
        assert_ne!(form.compare(Some(&document), Some(&document)), Compared::Differs);
    }
    if let Some(moment) = moment(&document) {
        assert!(!moment.to_string().is_empty());
    }
}

fn paths_and_places_agree(path: &Path, document: &Value) {
    let all = path.all(document);
    let places = path.places(document);
    let there: Vec<&Value> =
        places.iter().map(|place| document.pointer(place).expect("a place that is there")).collect();
    assert_eq!(all, there);
    assert_eq!(path.first(document), all.first().copied());
}

/// A value of an entry goes into a path's literal: the path selects what bears that value, and nothing else.
fn literals_stay_in_their_quotes(key: &str) {
    let path = format!("$[?@.name=='{}'].state", path_literal(key));
    let path = Path::try_from(path).expect("a path with any literal");
    let document = serde_json::json!([{"name": key, "state": 1}, {"name": format!("{key}x"), "state": 2}]);
    assert_eq!(path.all(&document), [&Value::from(1)]);
}

fn templates_come_back(text: &str, key: &str) {
    assert_eq!(percent_decode(&percent_encode(key)).as_deref(), Some(key));
    let Ok(template) = Template::try_from(text.to_owned()) else { return };
    // A brace that is written twice stands for itself, and an escape is not shown.
    let plain = !text.contains("{{") && !text.contains("}}") && !text.contains('|');
    if !plain {
        return;
    }
    assert_eq!(template.shown(&Vars::new()), text);
    let names: std::collections::BTreeSet<&str> = template.variables().collect();
    let vars: Vars = names.iter().map(|name| ((*name).to_owned(), key.to_owned())).collect();
    let filled = template.fill(&vars, percent_encode).expect("every variable is known");
    let whole = text
        .split('/')
        .filter(|s| s.contains(['{', '}']))
        .all(|s| s.starts_with('{') && s.ends_with('}') && s.matches(['{', '}']).count() == 2);
    let plain = text.split('/').all(|s| s.contains('{') || percent_decode(s).as_deref() == Some(s));
    if whole && plain && !key.is_empty() {
        assert_eq!(template.captures(&filled, &Vars::new()), Some(vars), "{filled}");
    }
}

fn keys_are_normal_once_normalised(key: &str) {
    use Normalisation::{Casefold, Gmail, Trim};
    for steps in [&[Trim, Casefold][..], &[Trim, Casefold, Gmail], &[Casefold], &[Trim]] {
        let once = normalise(steps, key);
        assert_eq!(normalise(steps, &once), once, "{steps:?}");
    }
}
