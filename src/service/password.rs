//! Passwords and their hashes: bcrypt, in the form that Go's library writes and reads.
//!
//! A hash is meant to take long (50 ms at the default cost), so it is made on threads of its own.
//! They are few, the system prefers every other thread to them, and the requests that wait for them
//! are bounded: those who try passwords wait for each other, and nobody waits for them.

use bytes::Bytes;
use detcd_core::error::Error;
use detcd_core::limits::{
    BCRYPT_COST_DEFAULT, BCRYPT_COST_MAX, BCRYPT_COST_MIN, PASSWORD_THREADS_MAX,
    PASSWORDS_WAITING_MAX,
};
use std::sync::{Arc, OnceLock};
use tokio::sync::{Mutex, mpsc, oneshot};

/// Makes and checks the hashes of passwords. Clones share the threads.
#[derive(Clone)]
pub struct Passwords {
    inner: Arc<Inner>,
}

struct Inner {
    cost: u32,
    /// Made with the threads when they are first needed.
    work: OnceLock<mpsc::Sender<Work>>,
}

type Work = Box<dyn FnOnce() + Send>;

impl Passwords {
    /// New hashes have this cost, or the default one if bcrypt has no such cost.
    pub fn new(cost: u32) -> Passwords {
        let is_cost = (BCRYPT_COST_MIN..=BCRYPT_COST_MAX).contains(&cost);
        Passwords {
            inner: Arc::new(Inner {
                cost: if is_cost { cost } else { BCRYPT_COST_DEFAULT },
                work: OnceLock::new(),
            }),
        }
    }

    /// A hash of `password` with a random salt. As in etcd 3.5, what is beyond 72 bytes of a password
    /// counts for nothing.
    pub async fn hash(&self, password: &[u8]) -> Result<Bytes, Error> {
        let (password, cost) = (password.to_vec(), self.inner.cost);
        let salt = [detcd_rt::random_u64(), detcd_rt::random_u64()];
        self.aside(move || hash(&password, cost, salt)).await
    }

    /// Whether `hash` is one of `password`. Text that is no hash is nobody's.
    pub async fn matches(&self, password: &[u8], hash: &[u8]) -> Result<bool, Error> {
        let (password, hash) = (password.to_vec(), hash.to_vec());
        self.aside(move || matches(&password, &hash)).await
    }

    /// Has one of the threads work, unless too many wait for them already.
    async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        let work = Box::new(move || {
            // A client that has gone costs no time.
            if !answer.is_closed() {
                let _ = answer.send(work());
            }
        });
        let threads = self.inner.work.get_or_init(start);
        threads.try_send(work).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => Error::TooManyRequests,
            mpsc::error::TrySendError::Closed(_) => Error::Stopped,
        })?;
        answered.await.map_err(|_| Error::Stopped)
    }
}

/// Starts the threads: as many as half of the cores. They end with the sender.
fn start() -> mpsc::Sender<Work> {
    let (send, receive) = mpsc::channel(PASSWORDS_WAITING_MAX);
    let receive = Arc::new(Mutex::new(receive));
    let threads = (detcd_rt::cores() / 2).clamp(1, PASSWORD_THREADS_MAX);
    for _ in 0..threads {
        let receive: Arc<Mutex<mpsc::Receiver<Work>>> = receive.clone();
        detcd_rt::spawn_io("passwords", async move {
            detcd_rt::yield_to_others();
            loop {
                let next = receive.lock().await.recv().await;
                let Some(work) = next else { return };
                work();
            }
        });
    }
    send
}

fn hash(password: &[u8], cost: u32, salt: [u64; 2]) -> Bytes {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&salt[0].to_be_bytes());
    bytes[8..].copy_from_slice(&salt[1].to_be_bytes());
    let parts = bcrypt::hash_with_salt(password, cost, bytes).expect("a cost that bcrypt has");
    parts.format_for_version(bcrypt::Version::TwoA).into()
}

fn matches(password: &[u8], hash: &[u8]) -> bool {
    let hash = std::str::from_utf8(hash).unwrap_or_default();
    bcrypt::verify(password, hash).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::join_all;

    #[test]
    fn hashes_are_gos() {
        // Of the tests of golang.org/x/crypto/bcrypt.
        let gos = b"$2a$10$XajjQvNhvvRt5GSeFk1xFeyqRrsxkhBkUiQeg0dt.wU1qD4aFDcga";
        assert!(matches(b"allmine", gos));
        assert!(!matches(b"Allmine", gos));
        assert!(!matches(b"secret", b""));
        assert!(!matches(b"", b"$2a$04$"));
        let made = hash(b"secret", 4, [1, 2]);
        assert!(made.starts_with(b"$2a$04$"));
        assert!(matches(b"secret", &made));
        assert_ne!(made, hash(b"secret", 4, [1, 3]));
    }

    #[test]
    fn passwords_are_any_bytes_and_end_after_72() {
        let long = [b'x'; 100];
        let made = hash(&long, 4, [1, 2]);
        assert!(matches(&long[..72], &made));
        assert!(!matches(&long[..71], &made));
        let zero = hash(b"a\0b", 4, [1, 2]);
        assert!(matches(b"a\0b", &zero));
        assert!(!matches(b"a", &zero));
    }

    #[test]
    fn passwords_beyond_the_bound_are_refused_at_once_and_the_others_are_checked() {
        let passwords = Passwords::new(4);
        let hash = hash(b"secret", 4, [1, 2]);
        let checks = join_all((0..2 * PASSWORDS_WAITING_MAX).map(|n| {
            let (passwords, hash) = (passwords.clone(), hash.clone());
            let password = if n % 2 == 0 { "secret" } else { "wrong" };
            async move { (n, passwords.matches(password.as_bytes(), &hash).await) }
        }));
        let checks = detcd_rt::block_on(checks);
        let (mut checked, mut refused) = (0, 0);
        for (n, result) in checks {
            match result {
                Ok(matches) => {
                    checked += 1;
                    assert_eq!(matches, n % 2 == 0);
                }
                Err(error) => {
                    refused += 1;
                    assert_eq!(error, Error::TooManyRequests);
                }
            }
        }
        assert!(checked >= PASSWORDS_WAITING_MAX, "{checked} checked");
        assert!(refused > 0);
    }

    #[test]
    fn a_cost_that_bcrypt_has_not_is_the_default() {
        for (given, used) in [(3, 10), (4, 4), (31, 31), (32, 10)] {
            assert_eq!(Passwords::new(given).inner.cost, used);
        }
    }
}
