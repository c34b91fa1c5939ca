//! Whose are the records? Exact answers over every feasible history.
//!
//! Several operations claim records of one list. In a feasible history each record was made by one of the operations
//! that can have made it, and no operation made more records than it has attempts. What is the same in every feasible
//! history is known; anything else is not. The histories are not listed: a maximum assignment (augmenting paths) and
//! the strongly connected components of its residual graph tell which pairs occur in any of them.

use std::collections::VecDeque;

/// What one operation may have made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// How many records it can have made: its attempts that may have been applied.
    pub capacity: usize,
    /// The records that can be its, by index.
    pub records: Vec<usize>,
}

/// What is known of one claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// No record can be its.
    None,
    /// In every feasible history it made this record and no other.
    Exactly(usize),
    /// The same, but there are more records than operations: if one of the others is nobody's, it may be another.
    ExactlyAmongMore(usize),
    /// It made more than one in every feasible history; or more records than operations are there, and it may have.
    Duplicated,
    /// More records than attempts can have made: somebody else made some.
    Foreign,
    /// Fewer records than operations: some were not applied, and it cannot be said which.
    Underdetermined,
    /// As many as operations or more, but which is whose differs between histories.
    Ambiguous,
}

/// What is known of each claim, in their order. `records` is the number of records.
pub fn fits(claims: &[Claim], records: usize) -> Vec<Fit> {
    let mut claimants = vec![Vec::new(); records];
    for (c, claim) in claims.iter().enumerate().filter(|(_, claim)| claim.capacity > 0) {
        for &record in &claim.records {
            claimants[record].push(c);
        }
    }
    let component = components(claims, &claimants);
    let mut assignment = Assignment::new(claims, &claimants);
    let unassigned: Vec<usize> = (0..records).filter(|&r| !claimants[r].is_empty() && !assignment.augment(r)).collect();
    let foreign: Vec<bool> =
        (0..claims.len()).map(|c| unassigned.iter().any(|&r| component[claimants[r][0]] == component[c])).collect();
    let strong = assignment.strong_components();
    let count = |c: usize, of: &dyn Fn(usize) -> usize| {
        (0..claims.len()).filter(|&other| component[other] == component[c]).map(of).sum::<usize>()
    };
    (0..claims.len())
        .map(|c| {
            if claims[c].capacity == 0 || claims[c].records.is_empty() {
                return Fit::None;
            }
            if foreign[c] {
                return Fit::Foreign;
            }
            let made = count(c, &|other| assignment.load[other]);
            let operations =
                count(c, &|other| usize::from(claims[other].capacity > 0 && !claims[other].records.is_empty()));
            if let Some(record) = assignment.only_record(c, &strong) {
                return if made > operations { Fit::ExactlyAmongMore(record) } else { Fit::Exactly(record) };
            }
            if assignment.surely_two(c) || (made > operations && claims[c].capacity.min(claims[c].records.len()) > 1) {
                Fit::Duplicated
            } else if made < operations {
                Fit::Underdetermined
            } else {
                Fit::Ambiguous
            }
        })
        .collect()
}

/// The component of each claim: claims that share a record, directly or through others.
fn components(claims: &[Claim], claimants: &[Vec<usize>]) -> Vec<usize> {
    let mut component = vec![usize::MAX; claims.len()];
    for start in 0..claims.len() {
        if component[start] != usize::MAX || claims[start].capacity == 0 {
            continue;
        }
        component[start] = start;
        let mut open = vec![start];
        while let Some(c) = open.pop() {
            for &other in claims[c].records.iter().flat_map(|&r| &claimants[r]) {
                if component[other] == usize::MAX {
                    component[other] = start;
                    open.push(other);
                }
            }
        }
    }
    component
}

/// Which claim made which record, in one feasible history.
#[derive(Clone)]
struct Assignment<'a> {
    claims: &'a [Claim],
    claimants: &'a [Vec<usize>],
    capacity: Vec<usize>,
    of_record: Vec<Option<usize>>,
    of_claim: Vec<Vec<usize>>,
    load: Vec<usize>,
}

impl<'a> Assignment<'a> {
    fn new(claims: &'a [Claim], claimants: &'a [Vec<usize>]) -> Assignment<'a> {
        Assignment {
            claims,
            claimants,
            capacity: claims.iter().map(|claim| claim.capacity).collect(),
            of_record: vec![None; claimants.len()],
            of_claim: vec![Vec::new(); claims.len()],
            load: vec![0; claims.len()],
        }
    }

    /// Gives an unassigned record to a claim, moving others where that makes room. False when there is no way.
    fn augment(&mut self, record: usize) -> bool {
        // For each claim reached: the record that is moved to it.
        let mut moved: Vec<Option<usize>> = vec![None; self.claims.len()];
        let mut open = VecDeque::from([record]);
        while let Some(r) = open.pop_front() {
            for &c in &self.claimants[r] {
                if moved[c].is_some() {
                    continue;
                }
                moved[c] = Some(r);
                if self.load[c] < self.capacity[c] {
                    self.shift(c, &moved);
                    return true;
                }
                open.extend(self.of_claim[c].iter().copied());
            }
        }
        false
    }

    /// Follows the path back from a claim with room, moving each record on it.
    fn shift(&mut self, end: usize, moved: &[Option<usize>]) {
        let mut to = end;
        self.load[end] += 1;
        while let Some(record) = moved[to] {
            let from = self.of_record[record].replace(to);
            self.of_claim[to].push(record);
            let Some(from) = from else { return };
            self.of_claim[from].retain(|&r| r != record);
            to = from;
        }
    }

    /// The strongly connected component of each claim in the residual graph: a record may move from its claim to
    /// another one, and any spare room may be filled from anywhere. Two claims in one component can swap.
    fn strong_components(&self) -> Vec<usize> {
        let room = self.claims.len();
        let mut graph = vec![Vec::new(); room + 1];
        for (record, c) in self.of_record.iter().enumerate() {
            let Some(c) = *c else { continue };
            graph[c].extend(self.claimants[record].iter().copied().filter(|&other| other != c));
        }
        for c in 0..room {
            if self.load[c] < self.capacity[c] {
                graph[c].push(room);
            }
            if self.load[c] > 0 {
                graph[room].push(c);
            }
        }
        strongly_connected(&graph)
    }

    /// The one record that the claim made in every feasible history, if it made just one.
    fn only_record(&self, c: usize, strong: &[usize]) -> Option<usize> {
        let [record] = self.of_claim[c][..] else { return None };
        let could_be_anothers = self.claimants[record].iter().any(|&other| other != c && strong[other] == strong[c]);
        let could_have_another = self.claims[c]
            .records
            .iter()
            .any(|&other| other != record && self.of_record[other].is_some_and(|owner| strong[owner] == strong[c]));
        (!could_be_anothers && !could_have_another).then_some(record)
    }

    /// Whether no feasible history leaves the claim with fewer than two records.
    fn surely_two(&self, c: usize) -> bool {
        if self.load[c] < 2 {
            return false;
        }
        let mut other = self.clone();
        other.capacity[c] = 1;
        let surplus = other.of_claim[c].split_off(1);
        other.load[c] = 1;
        for &record in &surplus {
            other.of_record[record] = None;
        }
        !surplus.iter().all(|&record| other.augment(record))
    }
}

/// Tarjan's strongly connected components without recursion: the component's number of each node.
fn strongly_connected(graph: &[Vec<usize>]) -> Vec<usize> {
    const UNSEEN: usize = usize::MAX;
    let n = graph.len();
    let (mut index, mut low, mut component) = (vec![UNSEEN; n], vec![0; n], vec![UNSEEN; n]);
    let (mut next, mut stack) = (0, Vec::new());
    for root in 0..n {
        if index[root] != UNSEEN {
            continue;
        }
        let mut path = vec![(root, 0)];
        while let Some((node, edge)) = path.pop() {
            if edge == 0 {
                (index[node], low[node]) = (next, next);
                next += 1;
                stack.push(node);
            } else {
                low[node] = low[node].min(low[graph[node][edge - 1]]);
            }
            let unfinished = (edge..graph[node].len()).find(|&e| {
                let to = graph[node][e];
                if index[to] != UNSEEN && component[to] == UNSEEN {
                    low[node] = low[node].min(index[to]);
                }
                index[to] == UNSEEN
            });
            if let Some(e) = unfinished {
                path.push((node, e + 1));
                path.push((graph[node][e], 0));
            } else if low[node] == index[node] {
                while let Some(member) = stack.pop() {
                    component[member] = node;
                    if member == node {
                        break;
                    }
                }
            }
        }
    }
    component
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn claim(capacity: usize, records: &[usize]) -> Claim {
        Claim { capacity, records: records.to_vec() }
    }

    #[test]
    fn one_record_for_one_operation_is_its() {
        assert_eq!(fits(&[claim(1, &[0])], 1), [Fit::Exactly(0)]);
        assert_eq!(fits(&[claim(3, &[0])], 1), [Fit::Exactly(0)]);
    }

    #[test]
    fn two_records_for_one_operation_of_two_attempts_are_a_duplicate() {
        assert_eq!(fits(&[claim(2, &[0, 1])], 2), [Fit::Duplicated]);
    }

    #[test]
    fn more_records_than_attempts_are_foreign() {
        assert_eq!(fits(&[claim(1, &[0, 1])], 2), [Fit::Foreign]);
    }

    #[test]
    fn one_record_for_two_operations_is_underdetermined() {
        assert_eq!(fits(&[claim(1, &[0]), claim(1, &[0])], 1), [Fit::Underdetermined; 2]);
    }

    #[test]
    fn twins_cannot_be_told_apart() {
        assert_eq!(fits(&[claim(1, &[0, 1]), claim(1, &[0, 1])], 2), [Fit::Ambiguous; 2]);
    }

    #[test]
    fn a_forced_choice_decides_the_other() {
        assert_eq!(fits(&[claim(1, &[0]), claim(1, &[0, 1])], 2), [Fit::Exactly(0), Fit::Exactly(1)]);
        // With a second attempt the other may have made both.
        assert_eq!(fits(&[claim(1, &[0]), claim(2, &[0, 1])], 2), [Fit::Ambiguous; 2]);
    }

    /// Every feasible history, listed one by one.
    fn by_brute_force(claims: &[Claim], records: usize) -> Vec<Vec<usize>> {
        let mut histories = vec![vec![]];
        for record in 0..records {
            let able: Vec<usize> =
                (0..claims.len()).filter(|&c| claims[c].capacity > 0 && claims[c].records.contains(&record)).collect();
            if able.is_empty() {
                histories.iter_mut().for_each(|h| h.push(usize::MAX));
                continue;
            }
            histories = histories
                .into_iter()
                .flat_map(|history: Vec<usize>| able.iter().map(move |&c| history.iter().copied().chain([c]).collect()))
                .filter(|history: &Vec<usize>| {
                    (0..claims.len()).all(|c| history.iter().filter(|&&x| x == c).count() <= claims[c].capacity)
                })
                .collect();
        }
        histories
    }

    proptest! {
        #![proptest_config(crate::decide::soak::config(2000))]

        #[test]
        fn what_is_said_holds_in_every_feasible_history(
            claims in proptest::collection::vec((0usize..3, proptest::collection::btree_set(0usize..5, 0..5)), 1..5)
        ) {
            let claims: Vec<Claim> =
                claims.into_iter().map(|(capacity, records)| Claim { capacity, records: records.into_iter().collect() }).collect();
            let said = fits(&claims, 5);
            let mut claimants = vec![Vec::new(); 5];
            for (c, claim) in claims.iter().enumerate().filter(|(_, claim)| claim.capacity > 0) {
                claim.records.iter().for_each(|&r| claimants[r].push(c));
            }
            let component = components(&claims, &claimants);
            for (c, fit) in said.iter().enumerate() {
                // Histories of the claims that have to do with this one.
                let related = |other: usize| component[other] == component[c];
                let alone: Vec<Claim> = claims.iter().enumerate()
                    .map(|(other, claim)| if related(other) { claim.clone() } else { Claim { capacity: 0, records: vec![] } })
                    .collect();
                let histories = by_brute_force(&alone, 5);
                let made = |h: &Vec<usize>| (0..5).filter(|&r| h[r] == c).collect::<Vec<_>>();
                let same: Option<Vec<usize>> = histories.first().map(made).filter(|first| histories.iter().all(|h| made(h) == *first));
                match fit {
                    Fit::Exactly(record) | Fit::ExactlyAmongMore(record) => prop_assert_eq!(same, Some(vec![*record])),
                    Fit::None => prop_assert!(claims[c].capacity == 0 || claims[c].records.is_empty()),
                    Fit::Foreign => prop_assert!(histories.is_empty()),
                    _ if histories.is_empty() => {}
                    Fit::Duplicated => prop_assert!(histories.iter().any(|h| made(h).len() > 1)),
                    Fit::Underdetermined | Fit::Ambiguous => {
                        prop_assert!(same.is_none_or(|same| same.len() != 1), "known, but not said: {:?}", claims);
                    }
                }
                if histories.iter().all(|h| made(h).len() > 1) && !histories.is_empty() {
                    prop_assert_eq!(*fit, Fit::Duplicated);
                }
            }
        }
    }
}
