//! The bare loop: reqwest on one thread, a reader and a writer thread, 500 rows in a transaction; no controls, no evidence,
//! no retries, and every key asked as often as it stands there.

use std::path::Path;

use futures_util::StreamExt;
use rusqlite::{Connection, params};
use tokio::sync::mpsc;

type Answer = (i64, &'static str, Option<String>);

pub fn run(database: &Path, url: &str, connections: usize) {
    let (rows, mut read) = mpsc::channel::<Vec<(i64, String)>>(4);
    let (answers, written) = mpsc::channel::<Vec<Answer>>(16);
    let reader = {
        let database = database.to_owned();
        std::thread::spawn(move || read_all(&database, &rows))
    };
    let writer = {
        let database = database.to_owned();
        std::thread::spawn(move || write_all(&database, written))
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).pool_max_idle_per_host(connections);
        let client = client.build().unwrap();
        let pages = futures_util::stream::poll_fn(move |context| read.poll_recv(context));
        let looks = pages
            .flat_map(futures_util::stream::iter)
            .map(|(id, email)| look(&client, url, id, email))
            .buffer_unordered(connections);
        let mut batches = std::pin::pin!(looks.chunks(500));
        while let Some(batch) = batches.next().await {
            answers.send(batch).await.unwrap();
        }
        drop(answers);
    });
    reader.join().unwrap();
    writer.join().unwrap();
    report(database);
}

async fn look(client: &reqwest::Client, url: &str, id: i64, email: String) -> Answer {
    let email = email.replace('@', "%40");
    let found =
        client.get(format!("{url}/api/v1.0/account/lookup?email={email}")).bearer_auth("t").send().await.unwrap();
    if found.status().as_u16() == 404 {
        return (id, "absent", None);
    }
    let found: serde_json::Value = serde_json::from_slice(&found.bytes().await.unwrap()).unwrap();
    let sid = found["sid"].as_str().unwrap();
    let shown = client.get(format!("{url}/userinfo?service_id={sid}")).bearer_auth("t").send().await.unwrap();
    let shown: serde_json::Value = serde_json::from_slice(&shown.bytes().await.unwrap()).unwrap();
    let verdict = if shown["given_name"] == "Ann" { "present" } else { "other" };
    (id, verdict, Some(sid.to_owned()))
}

fn read_all(database: &Path, rows: &mpsc::Sender<Vec<(i64, String)>>) {
    let connection = Connection::open(database).unwrap();
    let mut page = connection.prepare("SELECT id, email FROM requests WHERE id > ? ORDER BY id LIMIT 1000").unwrap();
    let mut last = 0;
    loop {
        let found = page.query_map([last], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let found: Vec<(i64, String)> = found.map(Result::unwrap).collect();
        let Some((end, _)) = found.last() else { return };
        last = *end;
        if rows.blocking_send(found).is_err() {
            return;
        }
    }
}

fn write_all(database: &Path, mut written: mpsc::Receiver<Vec<Answer>>) {
    let mut connection = Connection::open(database).unwrap();
    connection.pragma_update(None, "synchronous", "FULL").unwrap();
    while let Some(batch) = written.blocking_recv() {
        let transaction = connection.transaction().unwrap();
        {
            let mut update =
                transaction.prepare_cached("UPDATE requests SET verdict = ?, sid = ? WHERE id = ?").unwrap();
            for (id, verdict, sid) in batch {
                update.execute(params![verdict, sid, id]).unwrap();
            }
        }
        transaction.commit().unwrap();
    }
}

fn report(database: &Path) {
    let connection = Connection::open(database).unwrap();
    let mut csv = csv::Writer::from_path(database.with_extension("csv")).unwrap();
    let mut rows = connection.prepare("SELECT id, email, verdict, sid FROM requests ORDER BY id").unwrap();
    let mut rows = rows.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let id: i64 = row.get(0).unwrap();
        let text = |column: usize| row.get::<_, Option<String>>(column).unwrap().unwrap_or_default();
        csv.write_record([id.to_string(), text(1), text(2), text(3)]).unwrap();
    }
    csv.flush().unwrap();
}
