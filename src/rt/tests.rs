//! Both backends keep the same promises; the simulation's clocks keep theirs.

use crate::{
    Elapsed, Instant, block_on, sleep, sleep_until, spawn, spawn_blocking, spawn_io, timeout,
};
use std::future::pending;
use std::time::Duration;

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[test]
fn instants_saturate_and_advance() {
    block_on(async {
        let start = Instant::now();
        assert_eq!(
            Instant::from_origin(ms(5)) - ms(9),
            Instant::from_origin(ms(0))
        );
        assert_eq!(
            Instant::from_origin(ms(5)) - Instant::from_origin(ms(9)),
            ms(0)
        );
        sleep(ms(3)).await;
        assert!(start.elapsed() >= ms(3));
        assert!(crate::now_ms() >= start.as_millis() + 3);
    });
}

#[test]
fn timeouts_end_what_hangs_and_keep_what_is_ready() {
    block_on(async {
        assert_eq!(timeout(ms(2), pending::<()>()).await, Err(Elapsed));
        assert_eq!(timeout(ms(0), async { 7 }).await, Ok(7));
        assert_eq!(
            timeout(ms(60_000), async { sleep(ms(1)).await }).await,
            Ok(())
        );
    });
}

/// A sleep too short for a timer lets every ready task run once, and no more.
#[test]
fn short_sleeps_yield() {
    block_on(async {
        let before = Instant::now();
        let other = spawn(async { Instant::now() });
        for _ in 0..10 {
            sleep(Duration::from_micros(1)).await;
        }
        other.await.unwrap();
        sleep_until(before).await;
    });
}

#[test]
fn every_kind_of_task_gives_its_output() {
    block_on(async {
        assert_eq!(spawn(async { 1 }).await, Ok(1));
        assert_eq!(spawn_blocking(|| 2).await, Ok(2));
        let io = spawn_io("some-io", async {
            sleep(ms(1)).await;
            std::thread::current().name().map(str::to_owned)
        });
        let name = io.await.unwrap();
        if cfg!(not(madsim)) {
            assert_eq!(
                name.as_deref(),
                Some("some-io"),
                "it has no thread of its own"
            );
        }
        let aborted: crate::JoinHandle<()> = spawn(pending());
        aborted.abort();
        assert_eq!(aborted.await, Err(crate::JoinError::Cancelled));
    });
}

/// A task that is dropped because somebody else panicked has not panicked itself.
/// Nothing fires unless a simulator says so: in production nobody can.
#[test]
fn no_place_fires_by_itself() {
    use crate::buggify::{Place, defer, maybe_wait, takes_rare_path};
    block_on(async {
        let start = Instant::now();
        for place in Place::ALL {
            assert!(!takes_rare_path(*place));
            maybe_wait(*place).await;
            let (done, is_done) = std::sync::mpsc::channel();
            defer(*place, move || done.send(()).expect("it is looked at"));
            assert_eq!(is_done.try_recv(), Ok(()));
        }
        assert!(start.elapsed() < ms(1000));
    });
}

#[cfg(not(madsim))]
#[test]
fn a_panic_outside_of_tasks_ends_no_process() {
    let panicked = std::panic::catch_unwind(|| {
        block_on(async {
            let _task: crate::JoinHandle<()> = spawn(pending());
            crate::yield_now().await;
            panic!("as a failing test does");
        });
    });
    assert!(panicked.is_err());
}

#[test]
fn random_numbers_differ() {
    block_on(async {
        let drawn: std::collections::BTreeSet<u64> =
            (0..100).map(|_| crate::random_u64()).collect();
        assert_eq!(drawn.len(), 100);
    });
}

#[cfg(madsim)]
mod clocks {
    use super::*;
    use crate::clock::{self, true_time};
    use madsim::runtime::Handle;
    use madsim::task::NodeId;

    /// Runs `test` on a node of its own, within a run.
    fn on_node<F>(test: impl FnOnce(NodeId) -> F + Send + 'static)
    where
        F: std::future::Future<Output = ()> + Send + 'static,
    {
        // The clocks belong to the thread that a run has for itself.
        std::thread::spawn(move || {
            block_on(async move {
                let node = Handle::current().create_node().name("node").build();
                node.spawn(test(node.id())).await.unwrap();
            });
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_fast_clock_counts_more_and_sleeps_less() {
        on_node(|node| async move {
            clock::set_rate(node, 1_100_000);
            let (local, real) = (Instant::now(), true_time());
            sleep(ms(11_000)).await;
            let (local, real) = (local.elapsed(), true_time() - real);
            assert!(local >= ms(11_000) && local < ms(11_010), "{local:?}");
            assert!(real >= ms(10_000) && real < ms(10_010), "{real:?}");
        });
    }

    #[test]
    fn a_jump_ends_a_sleep_that_is_under_way() {
        on_node(|node| async move {
            let real = true_time();
            let sleeping = spawn(sleep(ms(11_000)));
            sleep(ms(2_000)).await;
            clock::jump(node, ms(5_000));
            sleeping.await.unwrap();
            let real = true_time() - real;
            assert!(real >= ms(6_000) && real < ms(6_010), "{real:?}");
        });
    }

    #[test]
    fn a_new_rate_is_seen_by_a_sleep_that_is_under_way() {
        on_node(|node| async move {
            let real = true_time();
            let sleeping = spawn(sleep(ms(10_000)));
            sleep(ms(4_000)).await;
            clock::set_rate(node, 500_000);
            sleeping.await.unwrap();
            let real = true_time() - real;
            assert!(real >= ms(16_000) && real < ms(16_010), "{real:?}");
        });
    }

    #[test]
    fn a_sleep_does_not_end_before_a_frozen_clock_shows_it() {
        on_node(|node| async move {
            let local = Instant::now();
            clock::set_rate(node, 1);
            // It takes ten true seconds to show this, though it is next to nothing.
            let sleeping = spawn(sleep(Duration::from_micros(10)));
            // And this would take centuries.
            let forever = spawn(sleep(Duration::from_secs(1 << 20)));
            madsim::time::sleep(ms(9_000)).await;
            assert!(local.elapsed() < Duration::from_micros(10));
            sleeping.await.unwrap();
            assert!(local.elapsed() >= Duration::from_micros(10));
            forever.abort();
        });
    }

    #[test]
    fn a_step_of_the_wall_clock_moves_nothing_else() {
        on_node(|node| async move {
            let (wall, local) = (crate::wall_unix_ms(), Instant::now());
            clock::step_wall(node, -3_600_000);
            assert_eq!(crate::wall_unix_ms(), wall - 3_600_000);
            assert_eq!(Instant::now(), local);
            clock::heal(node);
            assert_eq!(crate::wall_unix_ms(), wall);
        });
    }

    #[test]
    fn nodes_have_clocks_of_their_own() {
        on_node(|node| async move {
            clock::set_rate(node, 2_000_000);
            let other = Handle::current().create_node().name("other").build();
            let (here, there) = (Instant::now(), clock::local_time(other.id()));
            sleep(ms(1_000)).await;
            let (here, there) = (here.elapsed(), clock::local_time(other.id()) - there);
            assert!(here >= ms(1_000) && here < ms(1_010), "{here:?}");
            assert!(there >= ms(500) && there < ms(505), "{there:?}");
        });
    }
}
