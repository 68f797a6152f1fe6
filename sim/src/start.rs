//! Who a machine's member is, found out at each start of its process as the program finds it out:
//! by its disk if it has started there before, else by its flags.

use crate::disk::DiskImage;
use crate::net::transport::{self, Directory};
use crate::net::{Host, Net};
use crate::trace;
use detcd_core::api::{Member, MemberId};
use detcd_core::membership::identity::{
    self, DataDirUse, FlagsMismatch, FoundDataDir, MemberOf, StoredIdentity,
};
use detcd_core::membership::join::{Effect, Event, Join, JoinError, Joined};
use detcd_core::url::Url;
use futures::StreamExt as _;
use futures::future::{BoxFuture, FutureExt as _, ready};
use futures::stream::FuturesUnordered;
use std::collections::BTreeMap;
use std::time::Duration;
use thiserror::Error;

/// The founders' `--initial-cluster-token`.
const TOKEN: &str = "sim";
/// How long one member may take to tell of its cluster.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// What a process is started with, whatever its disk says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flags {
    pub name: String,
    /// `--initial-cluster`.
    pub named: BTreeMap<String, Vec<Url>>,
    /// `--initial-cluster-state=existing`.
    pub joins: bool,
}

/// What a process has written of itself before anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub own: MemberOf,
    /// Those who founded the cluster, or those whom the member joined.
    pub members: Vec<Member>,
    pub joined: bool,
    /// Whether log and store have been there.
    pub has_started: bool,
}

/// Why a process ends before its member starts.
#[derive(Debug, Error)]
pub enum IdentifyError {
    #[error(transparent)]
    Join(#[from] JoinError),
    #[error("its disk lacks what belongs together: {0:?}")]
    Disk(identity::DataDirFault),
    #[error("its flags are of another member: {0:?}")]
    Flags(FlagsMismatch),
}

/// The network, as a process sees it that is no member yet.
pub struct Asker {
    pub net: Net,
    pub host: Host,
    pub directory: Directory,
}

impl Flags {
    /// Those of a founder.
    pub fn of_founder(name: &str, named: &BTreeMap<String, Vec<Url>>) -> Flags {
        Flags {
            name: name.to_owned(),
            named: named.clone(),
            joins: false,
        }
    }

    /// Those of the member `id`, which these members have admitted, itself among them: members that
    /// have no name yet are called by their ids.
    pub fn of_newcomer(id: MemberId, members: &[Member]) -> Flags {
        let named = members.iter().map(|member| {
            let urls = member.peer_urls.iter();
            let urls = urls.map(|url| Url::parse(url).expect("members have parsed it"));
            (member.id.to_string(), urls.collect())
        });
        Flags {
            name: id.to_string(),
            named: named.collect(),
            joins: true,
        }
    }

    /// The members of the cluster that founders found.
    pub fn founding(&self) -> identity::Founding {
        let founding = identity::found(&self.name, &self.named, TOKEN);
        founding.expect("the flags name the member")
    }
}

/// Who the member is.
pub async fn identify(
    flags: &Flags,
    disk_image: &DiskImage,
    asker: &Asker,
) -> Result<Identity, IdentifyError> {
    let stored = disk_image.identity();
    let found = FoundDataDir {
        identity: match &stored {
            Some(stored) => StoredIdentity::Of {
                member: stored.own,
                has_started: stored.has_started,
            },
            None => StoredIdentity::Missing,
        },
        copy: None,
        has_log: disk_image.has_files(),
        // The simulated store is there with the log.
        has_state: disk_image.has_files(),
    };
    let used = identity::check_data_dir(&found).map_err(IdentifyError::Disk)?;
    if let (DataDirUse::StartedBefore, Some(stored)) = (used, stored) {
        if !stored.joined {
            let (name, named) = (&flags.name, &flags.named);
            identity::check_flags(stored.own, &stored.members, name, named, TOKEN)
                .map_err(IdentifyError::Flags)?;
        }
        return Ok(stored);
    }
    let (own, members) = match flags.joins {
        false => {
            let founding = flags.founding();
            (founding.own, founding.members)
        }
        true => {
            let Joined { cluster, member_id } = join(flags, asker).await?;
            let own = MemberOf {
                cluster_id: cluster.cluster_id,
                member_id,
            };
            (own, cluster.members)
        }
    };
    Ok(Identity {
        own,
        members,
        joined: flags.joins,
        has_started: false,
    })
}

/// Does what the member decides that joins a cluster.
async fn join(flags: &Flags, asker: &Asker) -> Result<Joined, JoinError> {
    let mut join = Join::new(flags.name.clone(), flags.named.clone());
    let mut under_way: FuturesUnordered<BoxFuture<'_, Event>> = FuturesUnordered::new();
    loop {
        while let Some(effect) = join.poll() {
            match effect {
                Effect::Ask(url) => under_way.push(ask(url, asker).boxed()),
                Effect::Resolve(url) => under_way.push(ready(resolve(url, asker)).boxed()),
                Effect::Warn { url, problem } => {
                    trace::event("join.problem", format_args!("{url} {problem}"));
                }
                Effect::Done(outcome) => return outcome,
            }
        }
        let event = under_way.next().await;
        join.handle(event.expect("it goes on until it is done"));
    }
}

async fn ask(url: Url, asker: &Asker) -> Event {
    let Asker {
        net,
        host,
        directory,
    } = asker;
    let text = url.to_string();
    let asked = transport::ask_members(net, *host, directory, &text);
    let answer = detcd_rt::timeout(ANSWER_MAX, asked).await;
    let answer = answer.unwrap_or_else(|_| Err("no cluster response in time".to_owned()));
    Event::Answered { url, answer }
}

fn resolve(url: Url, asker: &Asker) -> Event {
    let host = asker.directory.host(&url.to_string());
    let address = host
        .map(|host| format!("http://10.0.0.{}", host.0))
        .ok_or_else(|| "no such host".to_owned());
    Event::Resolved { url, address }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Latency;
    use crate::net::link::{LinkSettings, Links};
    use crate::rng::Rng;
    use futures::executor::block_on;

    fn asker() -> Asker {
        let link_settings = LinkSettings {
            latency_ms: 1..=5,
            loss: 0.0,
            duplicate: 0.0,
        };
        let links = Links::new(link_settings, Rng::of(1, "links"));
        Asker {
            net: Net::new(Rng::of(1, "net"), links, |_| {}),
            host: Host(1),
            directory: Directory::default(),
        }
    }

    fn named(names: &[&str]) -> BTreeMap<String, Vec<Url>> {
        let url = |name: &str| Url::parse(&format!("http://{name}:2380")).unwrap();
        let named = names
            .iter()
            .map(|name| ((*name).to_owned(), vec![url(name)]));
        named.collect()
    }

    #[test]
    fn a_founder_is_who_its_flags_say_and_then_who_its_disk_says() {
        let disk_image = DiskImage::new(Rng::of(1, "disk"), Latency::NONE);
        let identify = |name: &str| {
            let flags = Flags::of_founder(name, &named(&["m1", "m2"]));
            block_on(identify(&flags, &disk_image, &asker()))
        };
        let first = identify("m1").unwrap();
        assert!(!first.joined && first.members.len() == 2);
        assert_ne!(identify("m2").unwrap().own, first.own);
        disk_image.save_identity(first.clone());
        assert_eq!(identify("m1").unwrap(), first);
        assert!(matches!(identify("m2"), Err(IdentifyError::Flags(_))));
        disk_image.save_identity(Identity {
            has_started: true,
            ..first
        });
        assert!(matches!(identify("m1"), Err(IdentifyError::Disk(_))));
        disk_image.wipe();
        assert!(!identify("m1").unwrap().has_started);
    }

    #[test]
    fn a_newcomer_that_nobody_answers_cannot_join() {
        let disk_image = DiskImage::new(Rng::of(1, "disk"), Latency::NONE);
        let member = |id: u64| Member {
            id: MemberId(id),
            peer_urls: vec![format!("http://m{id}:2380")],
            ..Member::default()
        };
        let flags = Flags::of_newcomer(MemberId(2), &[member(1), member(2)]);
        assert_eq!(flags.named.len(), 2);
        let alone = Flags::of_newcomer(MemberId(2), &[member(2)]);
        let joined = block_on(identify(&alone, &disk_image, &asker()));
        assert!(matches!(joined, Err(IdentifyError::Join(_))), "{joined:?}");
    }
}
