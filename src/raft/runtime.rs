//! The runtime under openraft: detcd-rt's clock, timers, tasks and entropy, and tokio's channels
//! (which need no tokio runtime). Every wait of the engine goes through here, so the simulator
//! sees and orders all of them.

use detcd_rt::{Elapsed, Instant, JoinError, JoinHandle, Rng, Sleep, Timeout};
use openraft_rt as rt;
use openraft_rt::{OptionalSend, OptionalSync};
use std::future::Future;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::time::Duration;
use tokio::sync;

#[derive(Debug)]
pub(crate) struct Runtime;

impl rt::AsyncRuntime for Runtime {
    type JoinError = JoinError;
    type JoinHandle<T: OptionalSend + 'static> = JoinHandle<T>;
    type Sleep = Sleep;
    type Instant = Moment;
    type TimeoutError = Elapsed;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = Timeout<T>;
    type ThreadLocalRng = Rng;
    type Mpsc = Mpsc;
    type Watch = Watch;
    type Oneshot = Oneshot;
    type Mutex<T: OptionalSend + 'static> = Mutex<T>;

    fn spawn<T>(future: T) -> JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        detcd_rt::spawn(future)
    }

    fn sleep(duration: Duration) -> Sleep {
        detcd_rt::sleep(duration)
    }

    fn sleep_until(deadline: Moment) -> Sleep {
        detcd_rt::sleep_until(deadline.0)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Timeout<F> {
        detcd_rt::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: Moment,
        future: F,
    ) -> Timeout<F> {
        detcd_rt::timeout_at(deadline.0, future)
    }

    fn is_panic(error: &JoinError) -> bool {
        *error == JoinError::Panicked
    }

    fn thread_rng() -> Rng {
        detcd_rt::rng()
    }

    fn new(_threads: usize) -> Runtime {
        Runtime
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        detcd_rt::block_on(future)
    }

    fn spawn_blocking<F, T>(work: F) -> impl Future<Output = Result<T, std::io::Error>> + Send
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let task = detcd_rt::spawn_blocking(work);
        async move { task.await.map_err(std::io::Error::other) }
    }
}

/// [`Instant`], under openraft's trait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(pub(crate) Instant);

impl rt::Instant for Moment {
    fn now() -> Moment {
        Moment(Instant::now())
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;
    fn add(self, duration: Duration) -> Moment {
        Moment(self.0 + duration)
    }
}

impl AddAssign<Duration> for Moment {
    fn add_assign(&mut self, duration: Duration) {
        self.0 += duration;
    }
}

impl Sub<Duration> for Moment {
    type Output = Moment;
    fn sub(self, duration: Duration) -> Moment {
        Moment(self.0 - duration)
    }
}

impl SubAssign<Duration> for Moment {
    fn sub_assign(&mut self, duration: Duration) {
        self.0 -= duration;
    }
}

impl Sub for Moment {
    type Output = Duration;
    fn sub(self, earlier: Moment) -> Duration {
        self.0 - earlier.0
    }
}

pub(crate) struct Mpsc;
pub(crate) struct Sender<T>(sync::mpsc::Sender<T>);
pub(crate) struct WeakSender<T>(sync::mpsc::WeakSender<T>);
pub(crate) struct Receiver<T>(sync::mpsc::Receiver<T>);

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        Sender(self.0.clone())
    }
}

impl<T> Clone for WeakSender<T> {
    fn clone(&self) -> WeakSender<T> {
        WeakSender(self.0.clone())
    }
}

impl rt::Mpsc for Mpsc {
    type Sender<T: OptionalSend> = Sender<T>;
    type Receiver<T: OptionalSend> = Receiver<T>;
    type WeakSender<T: OptionalSend> = WeakSender<T>;

    fn channel<T: OptionalSend>(buffer: usize) -> (Sender<T>, Receiver<T>) {
        let (sender, receiver) = sync::mpsc::channel(buffer);
        (Sender(sender), Receiver(receiver))
    }
}

impl<T: OptionalSend> rt::MpscSender<Mpsc, T> for Sender<T> {
    async fn send(&self, message: T) -> Result<(), rt::SendError<T>> {
        self.0
            .send(message)
            .await
            .map_err(|error| rt::SendError(error.0))
    }

    fn downgrade(&self) -> WeakSender<T> {
        WeakSender(self.0.downgrade())
    }
}

impl<T: OptionalSend> rt::MpscReceiver<T> for Receiver<T> {
    async fn recv(&mut self) -> Option<T> {
        self.0.recv().await
    }

    fn try_recv(&mut self) -> Result<T, rt::TryRecvError> {
        self.0.try_recv().map_err(|error| match error {
            sync::mpsc::error::TryRecvError::Empty => rt::TryRecvError::Empty,
            sync::mpsc::error::TryRecvError::Disconnected => rt::TryRecvError::Disconnected,
        })
    }
}

impl<T: OptionalSend> rt::MpscWeakSender<Mpsc, T> for WeakSender<T> {
    fn upgrade(&self) -> Option<Sender<T>> {
        self.0.upgrade().map(Sender)
    }
}

pub(crate) struct Watch;
pub(crate) struct WatchSender<T>(sync::watch::Sender<T>);
pub(crate) struct WatchReceiver<T>(sync::watch::Receiver<T>);

impl<T> Clone for WatchSender<T> {
    fn clone(&self) -> WatchSender<T> {
        WatchSender(self.0.clone())
    }
}

impl<T> Clone for WatchReceiver<T> {
    fn clone(&self) -> WatchReceiver<T> {
        WatchReceiver(self.0.clone())
    }
}

impl rt::Watch for Watch {
    type Sender<T: OptionalSend + OptionalSync> = WatchSender<T>;
    type Receiver<T: OptionalSend + OptionalSync> = WatchReceiver<T>;
    type Ref<'a, T: OptionalSend + 'a> = sync::watch::Ref<'a, T>;

    fn channel<T: OptionalSend + OptionalSync>(initial: T) -> (WatchSender<T>, WatchReceiver<T>) {
        let (sender, receiver) = sync::watch::channel(initial);
        (WatchSender(sender), WatchReceiver(receiver))
    }
}

impl<T: OptionalSend + OptionalSync> rt::WatchSender<Watch, T> for WatchSender<T> {
    fn send(&self, value: T) -> Result<(), rt::watch::SendError<T>> {
        self.0
            .send(value)
            .map_err(|error| rt::watch::SendError(error.0))
    }

    fn send_if_modified<F: FnOnce(&mut T) -> bool>(&self, modify: F) -> bool {
        self.0.send_if_modified(modify)
    }

    fn borrow_watched(&self) -> sync::watch::Ref<'_, T> {
        self.0.borrow()
    }

    fn subscribe(&self) -> WatchReceiver<T> {
        WatchReceiver(self.0.subscribe())
    }
}

impl<T: OptionalSend + OptionalSync> rt::WatchReceiver<Watch, T> for WatchReceiver<T> {
    async fn changed(&mut self) -> Result<(), rt::RecvError> {
        self.0.changed().await.map_err(|_| rt::watch::RecvError(()))
    }

    fn borrow_watched(&self) -> sync::watch::Ref<'_, T> {
        self.0.borrow()
    }

    fn borrow_and_update(&mut self) -> sync::watch::Ref<'_, T> {
        self.0.borrow_and_update()
    }
}

pub(crate) struct Oneshot;
pub(crate) struct OneshotSender<T>(sync::oneshot::Sender<T>);

impl rt::Oneshot for Oneshot {
    type Sender<T: OptionalSend> = OneshotSender<T>;
    type Receiver<T: OptionalSend> = sync::oneshot::Receiver<T>;
    type ReceiverError = sync::oneshot::error::RecvError;

    fn channel<T: OptionalSend>() -> (OneshotSender<T>, sync::oneshot::Receiver<T>) {
        let (sender, receiver) = sync::oneshot::channel();
        (OneshotSender(sender), receiver)
    }
}

impl<T: OptionalSend> rt::OneshotSender<T> for OneshotSender<T> {
    fn send(self, value: T) -> Result<(), T> {
        self.0.send(value)
    }
}

pub(crate) struct Mutex<T>(sync::Mutex<T>);

impl<T: OptionalSend + 'static> rt::Mutex<T> for Mutex<T> {
    type Guard<'a> = sync::MutexGuard<'a, T>;

    fn new(value: T) -> Mutex<T> {
        Mutex(sync::Mutex::new(value))
    }

    async fn lock(&self) -> sync::MutexGuard<'_, T> {
        self.0.lock().await
    }
}
