//! What a look knows of the server's clock, against servers whose clocks and answers are of every kind. The paused timer is
//! the true time; the job's clock shows it more or less.

use std::cell::{Cell, RefCell};

use super::*;
use crate::http::{Broken, Exchange, Outgoing, Transport};
use crate::plan::search::Answer;

/// When the timer of a test begins, by the true time.
const BEGINNING: i64 = 1_800_000_000_000;

thread_local! {
    static BEGAN: Cell<Option<Tick>> = const { Cell::new(None) };
    /// What the job's clock shows more than the true time.
    static OFFSET: Cell<i64> = const { Cell::new(0) };
}

fn true_ms() -> i64 {
    let began = BEGAN.get().unwrap();
    BEGINNING + i64::try_from(began.elapsed().as_millis()).unwrap()
}

fn job_clock() -> Moment {
    Moment(true_ms() + OFFSET.get())
}

/// One answer: after how long it is stamped and after how long it is there, its status, its clock's offset (none: no
/// `Date`), and how long the server asks to be left alone.
#[derive(Clone, Copy)]
struct Reply {
    stamped: u64,
    there: u64,
    status: u16,
    offset: Option<i64>,
    retry_after: i64,
}

const QUICK: Reply = Reply { stamped: 10, there: 20, status: 404, offset: Some(0), retry_after: 0 };

/// Gives its replies in turn, and the last one for ever.
struct Server(RefCell<Vec<Reply>>);

impl Server {
    fn next(&self) -> Reply {
        let mut replies = self.0.borrow_mut();
        if replies.len() > 1 { replies.remove(0) } else { replies[0] }
    }
}

impl Transport for Server {
    async fn send(&self, _: &Outgoing<'_>) -> Result<Exchange, Broken> {
        let reply = self.next();
        tokio::time::sleep(std::time::Duration::from_millis(reply.stamped)).await;
        let date = reply.offset.map(|offset| Moment((true_ms() + offset).div_euclid(1000) * 1000));
        tokio::time::sleep(std::time::Duration::from_millis(reply.there - reply.stamped)).await;
        let content_type = Some("application/json".to_owned());
        let answer = Answer { status: reply.status, content_type, date, body: b"{}".to_vec(), ..Answer::default() };
        Ok(Exchange { answer, retry_after: Some(Span::seconds(reply.retry_after)) })
    }
}

/// The bounds that looks carry, one after another, each after a pause of so many milliseconds.
async fn looks(replies: &[Reply], pauses: &[u64]) -> Vec<Option<(i64, i64)>> {
    BEGAN.set(Some(tick()));
    OFFSET.set(0);
    let text = "plan = \"privo-gateway\"\n[ledger]\npath = \"l\"\n[server]\nbase_url = \"http://127.0.0.1:1\"\n\
                requests_per_second = 1000\n";
    let config = Config::parse(std::path::Path::new("c.toml"), text).unwrap();
    let server = Server(RefCell::new(replies.to_vec()));
    let lookups = Lookups::over(&config, server, None, job_clock).unwrap();
    let mut bounds = Vec::new();
    for pause in pauses {
        tokio::time::sleep(std::time::Duration::from_millis(*pause)).await;
        let sighting = lookups.look_up("account-by-email", "ann@example.com", &Shared::default()).await.unwrap();
        bounds.push(sighting.skew.map(|(least, most)| (least.0, most.0)));
    }
    bounds
}

#[track_caller]
fn holds(bounds: Option<(i64, i64)>, offset: i64, width: i64) {
    let (least, most) = bounds.unwrap();
    assert!(least <= offset && offset <= most, "{least} to {most}: {offset}");
    assert!(most - least <= width, "{least} to {most}");
}

#[tokio::test(start_paused = true)]
async fn a_look_that_waits_for_its_pause_knows_the_clock_as_well_as_a_quick_one() {
    let busy = Reply { status: 429, retry_after: 15, ..QUICK };
    let bounds = looks(&[busy, QUICK], &[300]).await;
    holds(bounds[0], 0, 1_040);
    // What is refused is dated, too.
    let undated = Reply { offset: None, ..QUICK };
    holds(looks(&[Reply { offset: Some(7_000), ..busy }, undated], &[300]).await[0], 7_000, 1_040);
}

#[tokio::test(start_paused = true)]
async fn slow_answers_among_quick_ones_cost_nothing() {
    let slow = Reply { stamped: 3_990, there: 4_000, ..QUICK };
    let alone = looks(&[slow], &[0]).await;
    holds(alone[0], 0, 5_010);
    let pauses = [0, 137, 274, 411, 548, 0];
    let bounds = looks(&[QUICK, QUICK, QUICK, QUICK, QUICK, slow], &pauses).await;
    holds(bounds[5], 0, 900);
}

#[tokio::test(start_paused = true)]
async fn without_a_date_nothing_is_known() {
    let undated = Reply { offset: None, ..QUICK };
    assert_eq!(looks(&[undated], &[0, 100]).await, [None, None]);
    // An answer of the same run may have one.
    let bounds = looks(&[undated, Reply { offset: Some(-3_600_000), ..QUICK }, undated], &[0, 100, 100]).await;
    assert_eq!(bounds[0], None);
    holds(bounds[2], -3_600_000, 1_040);
}

#[tokio::test(start_paused = true)]
async fn two_servers_behind_one_name_leave_what_lies_between_their_clocks() {
    let other = Reply { offset: Some(8_000), ..QUICK };
    let bounds = looks(&[QUICK, other, QUICK], &[0, 100, 100, 100, 100]).await;
    holds(bounds[0], 0, 1_040);
    for bound in &bounds[1..] {
        holds(*bound, 0, 9_100);
        holds(*bound, 8_000, 9_100);
    }
}

#[tokio::test(start_paused = true)]
async fn the_bounds_are_for_the_jobs_clock_as_it_is_at_the_look() {
    let set = async |offset: i64| {
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
        OFFSET.set(offset);
    };
    // Set between two looks, while the pause of 400 ms goes on.
    let (bounds, ()) = tokio::join!(looks(&[QUICK], &[0, 400, 100]), set(3_600_000));
    holds(bounds[0], 0, 1_040);
    holds(bounds[1], -3_600_000, 1_100);
    holds(bounds[2], -3_600_000, 1_100);
}
