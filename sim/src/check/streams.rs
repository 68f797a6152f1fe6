//! Streams with many watchers: each answer belongs to a request, each response to a watcher that is
//! there.
//! - a watcher that is created has the id that was asked for, or one that nobody else has;
//! - an id that is taken is refused, and nothing else is;
//! - what comes for an id comes between its creation and the answer to its end;
//! - only who agreed to fragments gets them, and nothing but the rest and the end comes for a
//!   watcher between the first and the last.

use super::Finding;
use crate::client_records::{Connection, Heard};
use crate::history::History;
use std::collections::{BTreeMap, VecDeque};

pub fn check(history: &History) -> Vec<Finding> {
    let connections = history.connections.iter();
    let findings = connections.filter_map(|connection| {
        let what = problem(connection)?;
        let Connection { client, ended, .. } = connection;
        let what = format!("the stream of client {client} that ended at {ended:?}: {what}");
        Some(Finding::new(what).time(*ended))
    });
    findings.collect()
}

/// A watcher that is there.
struct Open {
    agreed_to_fragments: bool,
    /// A fragment came, and more are to follow.
    in_parts: bool,
}

fn problem(connection: &Connection) -> Option<String> {
    let mut asked: VecDeque<(i64, bool)> = VecDeque::new();
    let mut open: BTreeMap<i64, Open> = BTreeMap::new();
    for heard in &connection.heard {
        match *heard {
            Heard::Create { id, fragment } => asked.push_back((id, fragment)),
            Heard::Cancel { .. } => {}
            Heard::Created { id } => {
                let Some((wanted, fragment)) = asked.pop_front() else {
                    return Some(format!("watcher {id} was created, and nobody asked for it"));
                };
                if wanted != 0 && wanted != id {
                    return Some(format!("watcher {wanted} was asked for, and is {id}"));
                }
                let new = Open {
                    agreed_to_fragments: fragment,
                    in_parts: false,
                };
                if open.insert(id, new).is_some() {
                    return Some(format!("the id {id} was given twice"));
                }
            }
            Heard::Refused => match asked.pop_front() {
                Some((wanted, _)) if open.contains_key(&wanted) => {}
                wanted => return Some(format!("{wanted:?} was refused, and nobody has that id")),
            },
            Heard::Canceled { id } => {
                if open.remove(&id).is_none() {
                    return Some(format!("watcher {id} was canceled, and is not there"));
                }
            }
            Heard::Progress { id: -1 } => {
                if let Some((id, _)) = open.iter().find(|(_, watcher)| watcher.in_parts) {
                    return Some(format!("progress of all, and watcher {id} lacks fragments"));
                }
            }
            Heard::Progress { id } => match open.get(&id) {
                None => return Some(format!("progress of watcher {id}, which is not there")),
                Some(watcher) if watcher.in_parts => {
                    return Some(format!("progress of watcher {id}, which lacks fragments"));
                }
                Some(_) => {}
            },
            Heard::EarlyProgress { id } => {
                return Some(format!("progress of {id} below the start of a watcher"));
            }
            Heard::Events { id, fragment } => match open.get_mut(&id) {
                None => return Some(format!("events of watcher {id}, which is not there")),
                Some(watcher) if fragment && !watcher.agreed_to_fragments => {
                    return Some(format!("fragments for watcher {id}, which wants none"));
                }
                Some(watcher) => watcher.in_parts = fragment,
            },
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn plain() -> Vec<Heard> {
        vec![
            Heard::Create {
                id: 7,
                fragment: true,
            },
            Heard::Create {
                id: 0,
                fragment: false,
            },
            Heard::Created { id: 7 },
            Heard::Events {
                id: 7,
                fragment: true,
            },
            Heard::Created { id: 1 },
            Heard::Events {
                id: 7,
                fragment: false,
            },
            Heard::Progress { id: -1 },
            Heard::Create {
                id: 7,
                fragment: false,
            },
            Heard::Refused,
            Heard::Cancel { id: 7 },
            Heard::Canceled { id: 7 },
        ]
    }

    fn is_wrong(forge: impl FnOnce(&mut Vec<Heard>)) -> bool {
        let mut heard = plain();
        forge(&mut heard);
        let connection = Connection {
            client: 1,
            ended: Duration::from_secs(1),
            heard,
        };
        let history = History {
            connections: vec![connection],
            ..History::default()
        };
        let found = check(&history);
        println!("{found:#?}");
        !found.is_empty()
    }

    #[test]
    fn an_orderly_stream_is_fine() {
        assert!(!is_wrong(|_| {}));
    }

    #[test]
    fn forged_streams_are_found() {
        // The id is another one than was asked for, or was given twice.
        assert!(is_wrong(|heard| heard[2] = Heard::Created { id: 8 }));
        assert!(is_wrong(|heard| heard[4] = Heard::Created { id: 7 }));
        // Something comes for a watcher that is gone, or has never been.
        assert!(is_wrong(|heard| heard.push(Heard::Events {
            id: 7,
            fragment: false
        })));
        assert!(is_wrong(|heard| heard.push(Heard::Progress { id: 5 })));
        assert!(is_wrong(|heard| heard.push(Heard::Canceled { id: 7 })));
        // A watcher is told of what was before its start.
        assert!(is_wrong(|heard| heard.push(Heard::EarlyProgress { id: -1 })));
        // Progress overtakes the last fragment; fragments for who wants none.
        assert!(is_wrong(|heard| heard.swap(5, 6)));
        assert!(is_wrong(|heard| heard[0] = Heard::Create {
            id: 7,
            fragment: false
        }));
        // A free id is refused.
        assert!(is_wrong(|heard| heard[7] = Heard::Create {
            id: 9,
            fragment: false
        }));
    }
}
