//! A member that was added to a running cluster finds its place there: it asks the members of
//! `--initial-cluster` who belongs to the cluster, and must be one of them.
//!
//! All of them are asked at once. The first answer that fits settles it: a member that lags may not
//! know of this one yet, and one that is down does not delay the others. Where a member is replaced at
//! its URLs, one that lags still tells the id of the member before, under the name that it has
//! published: who joins has published nothing yet, so that such an answer does not fit. If no answer
//! fits, the one of the first URL tells what is wrong with the flags.
//!
//! A driver does what [`Join::poll`] gives until it is `None`, tells what came of it
//! ([`Join::handle`]), and goes on until [`Effect::Done`].

use super::peer_urls::{Compared, Resolved, compare, is_same_text};
use crate::api::{ClusterId, Member, MemberId};
use crate::url::{self, Url};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;
use thiserror::Error;

/// Why a member cannot join, in etcd's words.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum JoinError {
    #[error(
        "cannot fetch cluster info from peer urls: could not retrieve cluster information from \
         the given URLs"
    )]
    NobodyAnswers,
    #[error("error validating peerURLs {cluster}: member count is unequal")]
    Count { cluster: String },
    #[error(
        "error validating peerURLs {cluster}: PeerURLs: no match found for existing member \
         ({id}, [{urls}]), last resolver error ({why})"
    )]
    NoMatch {
        cluster: String,
        id: MemberId,
        urls: String,
        why: String,
    },
    #[error(
        "member {id} has already been bootstrapped, under the name {name:?}. If it was only just \
         replaced, the members that answer may not know yet: start again. If it has lost its \
         data-dir, remove it with `detcdctl member remove {id}` and add it again"
    )]
    Bootstrapped { id: MemberId, name: String },
}

/// A running cluster, as one of its members tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldCluster {
    pub cluster_id: ClusterId,
    pub members: Vec<Member>,
}

/// The cluster that a member joins, and its id there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    pub cluster: ToldCluster,
    pub member_id: MemberId,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The member at this URL has answered, or why it has not.
    Answered {
        url: Url,
        answer: Result<ToldCluster, String>,
    },
    /// The URL with the address of its host, or why there is none.
    Resolved {
        url: Url,
        address: Result<String, String>,
    },
}

/// What must be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Ask the member at this URL for the cluster, and tell `Event::Answered`.
    Ask(Url),
    /// Look the host of this URL up, and tell `Event::Resolved`.
    Resolve(Url),
    /// Tell the operator that an answer is of no use.
    Warn { url: Url, problem: String },
    /// Nothing else is done.
    Done(Result<Joined, JoinError>),
}

enum Question {
    Asked,
    /// Its comparison waits for names.
    Answered(ToldCluster),
    Failed,
    Unfit(JoinError),
}

pub struct Join {
    own_name: String,
    named: BTreeMap<String, Vec<Url>>,
    questions: BTreeMap<usize, (Url, Question)>,
    resolved: Resolved,
    resolving: BTreeSet<Url>,
    is_done: bool,
    out: VecDeque<Effect>,
}

impl Join {
    /// `named`: the members of `--initial-cluster`, `own_name` among them.
    pub fn new(own_name: String, named: BTreeMap<String, Vec<Url>>) -> Join {
        assert!(named.contains_key(&own_name), "the flags name this member");
        let others = named.iter().filter(|(name, _)| **name != own_name);
        let urls: Vec<Url> = others.flat_map(|(_, urls)| urls).cloned().collect();
        let ask = urls.iter().cloned().map(Effect::Ask).collect();
        let questions = urls.into_iter().map(|url| (url, Question::Asked));
        let mut join = Join {
            own_name,
            named,
            questions: questions.enumerate().collect(),
            resolved: Resolved::new(),
            resolving: BTreeSet::new(),
            is_done: false,
            out: ask,
        };
        join.settle();
        join
    }

    pub fn handle(&mut self, event: Event) {
        match event {
            Event::Answered { url, answer } => {
                let mut questions = self.questions.values_mut();
                let asked = questions
                    .find(|(at, question)| *at == url && matches!(question, Question::Asked));
                if let Some((_, question)) = asked {
                    *question = match answer {
                        Ok(told) => Question::Answered(told),
                        Err(problem) => {
                            self.out.push_back(Effect::Warn { url, problem });
                            Question::Failed
                        }
                    };
                }
            }
            Event::Resolved { url, address } => {
                self.resolved.insert(url, address);
            }
        }
        self.settle();
    }

    pub fn poll(&mut self) -> Option<Effect> {
        self.out.pop_front()
    }

    /// Compares what can be compared; ends when an answer fits or none can any more.
    fn settle(&mut self) {
        if self.is_done {
            return;
        }
        for number in 0..self.questions.len() {
            let Some((url, Question::Answered(told))) = self.questions.get(&number) else {
                continue;
            };
            let (url, told) = (url.clone(), told.clone());
            match place(&self.own_name, &self.named, &told, &self.resolved) {
                Place::Is(member_id) => {
                    let cluster = told;
                    return self.end(Ok(Joined { cluster, member_id }));
                }
                Place::Unresolved(urls) => self.resolve(urls),
                Place::Unfit(error) => {
                    let problem = format!("a cluster response that does not fit: {error}");
                    let warning = Effect::Warn {
                        url: url.clone(),
                        problem,
                    };
                    self.out.push_back(warning);
                    self.questions.insert(number, (url, Question::Unfit(error)));
                }
            }
        }
        let is_open = |(_, question): &(Url, Question)| {
            matches!(question, Question::Asked | Question::Answered(_))
        };
        if !self.questions.values().any(is_open) {
            let unfit = self
                .questions
                .values()
                .find_map(|(_, question)| match question {
                    Question::Unfit(error) => Some(error.clone()),
                    _ => None,
                });
            self.end(Err(unfit.unwrap_or(JoinError::NobodyAnswers)));
        }
    }

    fn resolve(&mut self, urls: Vec<Url>) {
        for url in urls {
            if self.resolving.insert(url.clone()) {
                self.out.push_back(Effect::Resolve(url));
            }
        }
    }

    fn end(&mut self, outcome: Result<Joined, JoinError>) {
        self.is_done = true;
        self.out.push_back(Effect::Done(outcome));
    }
}

/// This member's place in a cluster that was told.
enum Place {
    Is(MemberId),
    Unresolved(Vec<Url>),
    Unfit(JoinError),
}

/// The flags must name the same members, by the same URLs or by URLs that resolve to the same
/// addresses.
fn place(
    own_name: &str,
    named: &BTreeMap<String, Vec<Url>>,
    told: &ToldCluster,
    resolved: &Resolved,
) -> Place {
    let cluster = || told.to_string();
    if told.members.len() != named.len() {
        return Place::Unfit(JoinError::Count { cluster: cluster() });
    }
    let mut ids = BTreeMap::new();
    for member in &told.members {
        let no_match = |why: String| {
            Place::Unfit(JoinError::NoMatch {
                cluster: cluster(),
                id: member.id,
                urls: member.peer_urls.join(" "),
                why,
            })
        };
        let urls = match url::parse_all(&member.peer_urls) {
            Ok(urls) => urls,
            Err(error) => return no_match(error.to_string()),
        };
        let free = || named.iter().filter(|(name, _)| !ids.contains_key(*name));
        let same = free().find(|(_, own)| is_same_text(&urls, own));
        let mut name = same.map(|(name, _)| name.clone());
        let mut why = String::new();
        for (candidate, own) in free() {
            if name.is_some() {
                break;
            }
            match compare(&urls, own, resolved) {
                Compared::Same => name = Some(candidate.clone()),
                Compared::Different(difference) => why = difference,
                Compared::Unresolved(urls) => return Place::Unresolved(urls),
            }
        }
        match name {
            Some(name) => ids.insert(name, member),
            None => return no_match(why),
        };
    }
    // As many members here as there, each of theirs named here, none twice: all are named.
    let own = ids[own_name];
    match own.name.is_empty() {
        true => Place::Is(own.id),
        false => Place::Unfit(JoinError::Bootstrapped {
            id: own.id,
            name: own.name.clone(),
        }),
    }
}

/// As etcd prints it in its errors.
impl fmt::Display for ToldCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let member = |member: &Member| {
            format!(
                "&{{ID:{} RaftAttributes:{{PeerURLs:[{}] IsLearner:{}}} Attributes:{{Name:{} \
                 ClientURLs:[{}]}}}}",
                member.id,
                member.peer_urls.join(" "),
                member.is_learner,
                member.name,
                member.client_urls.join(" ")
            )
        };
        let members: Vec<String> = self.members.iter().map(member).collect();
        write!(
            f,
            "{{ClusterID:{} Members:[{}] RemovedMemberIDs:[]}}",
            self.cluster_id,
            members.join(" ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::borrow::ToOwned as _;
    use alloc::vec;

    fn urls(texts: &[&str]) -> Vec<Url> {
        texts.iter().map(|text| Url::parse(text).unwrap()).collect()
    }

    fn member(id: u64, url: &str) -> Member {
        Member {
            id: MemberId(id),
            peer_urls: vec![url.to_owned()],
            ..Member::default()
        }
    }

    fn told(members: &[Member]) -> ToldCluster {
        ToldCluster {
            cluster_id: ClusterId(0xc),
            members: members.to_vec(),
        }
    }

    /// This member is n2.
    fn join(members: &[(&str, &[&str])]) -> Join {
        let named = members.iter();
        let named = named.map(|(name, texts)| ((*name).to_owned(), urls(texts)));
        Join::new("n2".to_owned(), named.collect())
    }

    fn drain(join: &mut Join) -> Vec<Effect> {
        core::iter::from_fn(|| join.poll()).collect()
    }

    fn answer(join: &mut Join, url: &str, members: &[Member]) -> Vec<Effect> {
        join.handle(Event::Answered {
            url: Url::parse(url).unwrap(),
            answer: Ok(told(members)),
        });
        drain(join)
    }

    fn outcome(effects: Vec<Effect>) -> Result<MemberId, String> {
        match effects.last() {
            Some(Effect::Done(Ok(joined))) => Ok(joined.member_id),
            Some(Effect::Done(Err(error))) => Err(error.to_string()),
            _ => panic!("{effects:?}"),
        }
    }

    #[test]
    fn all_are_asked_at_once_and_the_first_that_fits_settles_it() {
        let (a, b) = ("http://a:1", "http://a:2");
        let mut join = join(&[("n1", &[a, b]), ("n2", &["http://b:1"])]);
        let asked: Vec<Effect> = urls(&[a, b]).into_iter().map(Effect::Ask).collect();
        assert_eq!(drain(&mut join), asked);
        let one = Member {
            peer_urls: vec![a.to_owned(), b.to_owned()],
            ..member(0xa, a)
        };
        let lags = answer(&mut join, b, core::slice::from_ref(&one));
        assert!(matches!(&lags[..], [Effect::Warn { .. }]), "{lags:?}");
        let members = [one, member(0xb, "http://b:1")];
        assert_eq!(outcome(answer(&mut join, a, &members)), Ok(MemberId(0xb)));
        assert_eq!(answer(&mut join, b, &members), vec![]);
    }

    #[test]
    fn the_member_that_was_replaced_here_is_another_one() {
        let named = Member {
            name: "old".to_owned(),
            ..member(0xb, "http://b:1")
        };
        let one = || member(0xa, "http://a:1");
        let two = || member(0xd, "http://d:1");
        let join = || {
            let (a, b, d) = ("http://a:1", "http://b:1", "http://d:1");
            let mut join = join(&[("n1", &[a]), ("n2", &[b]), ("n3", &[d])]);
            drain(&mut join);
            join
        };
        let (before, after) = (
            [one(), named, two()],
            [one(), member(0xc, "http://b:1"), two()],
        );
        let mut lags = join();
        let effects = answer(&mut lags, "http://a:1", &before);
        assert!(matches!(&effects[..], [Effect::Warn { .. }]), "{effects:?}");
        let joined = outcome(answer(&mut lags, "http://d:1", &after));
        assert_eq!(joined, Ok(MemberId(0xc)));
        let mut lost = join();
        answer(&mut lost, "http://a:1", &before);
        let refused = outcome(answer(&mut lost, "http://d:1", &before)).unwrap_err();
        let expected = "member b has already been bootstrapped, under the name \"old\"";
        assert!(refused.starts_with(expected), "{refused}");
    }

    #[test]
    fn nobody_else_or_nobody_who_answers_is_nobody() {
        let nobody = Err(JoinError::NobodyAnswers.to_string());
        let mut alone = join(&[("n2", &["http://b:1"])]);
        assert_eq!(outcome(drain(&mut alone)), nobody);
        let mut join = join(&[("n1", &["http://a:1"]), ("n2", &["http://b:1"])]);
        drain(&mut join);
        join.handle(Event::Answered {
            url: Url::parse("http://a:1").unwrap(),
            answer: Err("no".to_owned()),
        });
        assert_eq!(outcome(drain(&mut join)), nobody);
    }

    #[test]
    fn names_are_looked_up_when_the_texts_differ() {
        let mut join = join(&[("n1", &["http://a:1"]), ("n2", &["http://name:1"])]);
        drain(&mut join);
        let members = [member(0xa, "http://a:1"), member(0xb, "http://10.0.0.2:1")];
        let effects = answer(&mut join, "http://a:1", &members);
        let name = Url::parse("http://name:1").unwrap();
        assert_eq!(effects, [Effect::Resolve(name.clone())]);
        let address = Ok("http://10.0.0.2:1".to_owned());
        join.handle(Event::Resolved { url: name, address });
        assert_eq!(outcome(drain(&mut join)), Ok(MemberId(0xb)));
    }

    #[test]
    fn the_flags_must_name_the_members_that_there_are() {
        let ours = ["http://127.0.0.1:1", "http://127.0.0.1:2"];
        let theirs = [member(0xa, ours[0]), member(0xb, "http://127.0.0.1:3")];
        let refused = |members: &[Member]| {
            let mut join = join(&[("n1", &ours[..1]), ("n2", &ours[1..])]);
            drain(&mut join);
            outcome(answer(&mut join, ours[0], members)).unwrap_err()
        };
        assert_eq!(
            refused(&theirs[..1]),
            "error validating peerURLs {ClusterID:c Members:[&{ID:a \
             RaftAttributes:{PeerURLs:[http://127.0.0.1:1] IsLearner:false} Attributes:{Name: \
             ClientURLs:[]}}] RemovedMemberIDs:[]}: member count is unequal"
        );
        let other = refused(&theirs);
        assert!(
            other.ends_with(
                "PeerURLs: no match found for existing member (b, [http://127.0.0.1:3]), last \
                 resolver error (\"http://127.0.0.1:3\"(resolved from \"http://127.0.0.1:3\") != \
                 \"http://127.0.0.1:2\"(resolved from \"http://127.0.0.1:2\"))"
            ),
            "{other}"
        );
    }
}
