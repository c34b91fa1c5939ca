//! Every scene under every fault, at every boundary or at some.

use crate::scenes::{self, Scene};
use crate::shim::{self, Fault};
use crate::stage::{State, leaked};
use crate::tally::{self, Tally, Wrong};
use crate::util::{Ran, leaks};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Scenes that are played at once.
const THREADS: usize = 3;

#[derive(Clone, Copy, Debug)]
pub enum Which {
    Every,
    /// One of every fourth scene for each fault, and elsewhere for each.
    Some,
}

/// Plays them all, prints what was found, and fails when that is anything.
pub fn of(faults: &[(&'static str, Fault)], which: Which) {
    if shim::built().is_none() {
        return;
    }
    let platform = scenes::platform();
    let scenes: Vec<Mutex<Scene>> = scenes::all(&platform).into_iter().map(Mutex::new).collect();
    let references: Vec<(i32, State)> = scenes.iter().map(|scene| reference(&scene.lock().unwrap())).collect();
    let mut jobs = Vec::new();
    for (turn, (_, fault)) in faults.iter().enumerate() {
        let played = |scene: &usize| matches!(which, Which::Every) || (scene + turn).is_multiple_of(4);
        jobs.extend((0..scenes.len()).filter(played).map(|scene| (turn, *fault, scene)));
    }
    let tallies: Vec<Mutex<Tally>> = faults.iter().map(|_| Mutex::default()).collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                // What is known of personal values is known to one thread.
                references.iter().flat_map(|(_, state)| &state.entries).for_each(|entry| leaks::note(entry));
                while let Some((turn, fault, scene)) = jobs.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let tally = play_all(&scenes[*scene].lock().unwrap(), fault, which, *turn, &references[*scene]);
                    tallies[*turn].lock().unwrap().add(tally);
                }
            });
        }
    });
    let tallies = tallies.into_iter().map(|tally| tally.into_inner().unwrap());
    let tallies: Vec<(&str, Tally)> = faults.iter().map(|(name, _)| *name).zip(tallies).collect();
    tally::conclude(&tallies);
}

fn play_all(scene: &Scene, fault: &Fault, which: Which, turn: usize, reference: &(i32, State)) -> Tally {
    let mut tally = Tally::default();
    let count = scene.stage.boundaries(scene.command, scene.input.as_deref(), fault.kinds);
    for at in places(count, which, turn) {
        play(scene, fault, at, reference, &mut tally);
    }
    if matches!(which, Which::Every) {
        eprintln!("{} {fault:?}: {count} boundaries", scene.name);
    }
    tally
}

fn places(count: usize, which: Which, turn: usize) -> Vec<usize> {
    match which {
        Which::Every => (1..=count).collect(),
        // Spread by the golden ratio: the next fault is tried elsewhere.
        Which::Some => vec![1 + ((turn as f64 * 0.618_034).fract() * count as f64) as usize],
    }
}

/// What comes of a scene without a fault.
fn reference(scene: &Scene) -> (i32, State) {
    scene.stage.reset();
    let input = scene.input.as_deref();
    let first = scene.stage.plainly(scene.command, input);
    let mut code = first.code;
    for next in scene.then {
        code = scene.stage.plainly(next, input).code;
    }
    assert!([0, 3].contains(&first.code) && [0, 3].contains(&code), "{}: {first:?}, then {code}", scene.name);
    (first.code, scene.stage.state().unwrap())
}

fn play(scene: &Scene, fault: &Fault, at: usize, (code, expected): &(i32, State), tally: &mut Tally) {
    let place = |what: &str| format!("{}, boundary {at}: {what}", scene.name);
    let (stage, input) = (&scene.stage, scene.input.as_deref());
    stage.reset();
    tally.cases += 1;
    let ran = stage.meets(scene.command, input, fault, at);
    tally.says(ran.code, &ran.err, &stage.dir.path().display().to_string());
    let mut wrong = Vec::new();
    wrong.extend(code_is_wrong(&ran, *code, fault).map(|what| (Wrong::Code, what)));
    wrong.extend(leaked(&ran).into_iter().map(|what| (Wrong::Leak, what)));
    wrong.extend((scene.right_after)(stage, &ran));
    for next in scene.then {
        let ran = stage.plainly(next, input);
        wrong.extend(leaked(&ran).into_iter().map(|what| (Wrong::Leak, what)));
        if ran.code != *code && !(*code == 3 && ran.code == 4) {
            wrong.push((Wrong::Code, format!("afterwards {next:?}: {ran:?}")));
        }
    }
    match stage.state() {
        Err(what) => wrong.push((Wrong::Torn, what)),
        Ok(state) if state.entries != expected.entries => {
            wrong.push((Wrong::Lost, format!("{:?} instead of {:?}", state.entries, expected.entries)));
        }
        Ok(state) if state.verdicts != expected.verdicts => {
            let differ = state.verdicts.iter().zip(&expected.verdicts).filter(|(is, should)| is != should);
            wrong.push((Wrong::Verdict, format!("{:?}", differ.collect::<Vec<_>>())));
        }
        Ok(_) => {}
    }
    let verified = stage.plainly(&["verify"], None);
    if verified.code != 0 {
        wrong.push((Wrong::Verdict, format!("verify: {verified:?}")));
    }
    wrong.extend((scene.in_the_end)(stage));
    for (kind, what) in wrong {
        tally.found(kind, place(&what));
    }
}

/// Killed, done in spite of it, or failed as the contract says: exit 1, and a message with a remedy.
fn code_is_wrong(ran: &Ran, done: i32, fault: &Fault) -> Option<String> {
    let fine = match ran.code {
        -1 => fault.kills(),
        // `record --stdin` tells it in its answers.
        1 => !fault.kills() && has_remedy(if ran.err.is_empty() { &ran.out } else { &ran.err }),
        code => code == done,
    };
    (!fine).then(|| format!("{ran:?}"))
}

/// What to do is said in parentheses.
pub fn has_remedy(said: &str) -> bool {
    let parts = said.match_indices('(').map(|(at, _)| &said[at + 1..]);
    !said.contains("panicked") && parts.filter(|part| !part.starts_with("os error")).count() > 0
}
