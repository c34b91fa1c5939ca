//! Any text as a plan: it is refused with the file's name, or all that it says can be done.

use privo_reconcile::clock::Moment;
use privo_reconcile::plan::search::Search;
use privo_reconcile::plan::template::Vars;
use privo_reconcile::plan::{Plan, Reader, Row, text_cell};
use privo_reconcile::words::Direction;
use url::Url;

/// A body that has what the shipped plans and the seeds ask for.
const BODY: &str = r#"{"email":"ann@example.com","first_name":"Ann","eid":"e-1","sid":"s-1","a":[1,{"b":"x"}],"parent":
{"email":"p@example.com"},"minors":[{"first_name":"Bo","display_name":"bo"}],"event":{"id":"ev-1"}}"#;

pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let params = wanted(text);
    match Plan::load("p.toml", text, &params) {
        Ok(plan) => every_part_works(&plan),
        Err(error) => assert!(format!("{error:#}").contains("p.toml"), "a message without the file: {error:#}"),
    }
}

/// The parameters that a plan asks for.
fn wanted(text: &str) -> Vars {
    let table = toml::from_str::<toml::Table>(text).unwrap_or_default();
    let params = table.get("params").and_then(|params| params.as_array()).cloned().unwrap_or_default();
    params.iter().filter_map(|param| Some((param.as_str()?.to_owned(), "acme".to_owned()))).collect()
}

fn every_part_works(plan: &Plan) {
    let server = Url::parse("https://privo.example").unwrap();
    let reader = Reader { plan, server: &server, salt: b"salt", also: &[] };
    for lookup in plan.lookups.values() {
        let request = Search::start(lookup, plan.params(), "ann+1@exämple.com/../?#&", &server).request();
        let Ok(request) = request else { continue };
        let path = &request.path_and_query;
        assert!(path.starts_with('/'), "a lookup that asks {path}");
        let url = Url::parse(&format!("https://privo.example{path}"));
        assert_eq!(
            url.ok().and_then(|url| url.host_str().map(str::to_owned)).as_deref(),
            Some("privo.example"),
            "{path}"
        );
    }
    for operation in &plan.operations {
        for path in &operation.paths {
            let vars: Vars = path.as_ref().variables().map(|name| (name.to_owned(), "7".to_owned())).collect();
            let vars = vars.into_iter().chain(plan.params().clone()).collect();
            let path = path.as_ref().fill(&vars, str::to_owned).expect("every variable is known");
            let url = format!("https://privo.example{path}");
            let read = reader.read(&row(operation.direction, &operation.method, &url), Moment(1_800_000_000_000));
            assert_eq!(read.facts.effects.len(), read.probes.len());
            for probe in read.probes.iter().flatten() {
                assert!(plan.lookups.contains_key(&probe.lookup));
            }
            reader.minimal(operation.direction, &operation.method, &url, BODY);
            reader.changes_something(&operation.method, &url);
        }
    }
}

fn row(direction: Direction, method: &str, url: &str) -> Row {
    Row {
        direction: text_cell(direction.text()),
        method: text_cell(method),
        url: text_cell(url),
        body: text_cell(BODY),
        sent_at: text_cell("2026-03-01T12:00:00Z"),
        failure: text_cell("timeout"),
        ..Row::blank(1, "r")
    }
}
