//! Work that waits for the disk, apart from the tasks that serve.

use detcd_core::view::Fault;
use futures::channel::oneshot;
use std::sync::mpsc;

/// A thread for what waits for the disk.
pub(super) struct Blocking {
    jobs: mpsc::Sender<Box<dyn FnOnce() + Send>>,
}

impl Blocking {
    pub fn start(name: &str) -> std::io::Result<Blocking> {
        let (jobs, queue) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let thread = std::thread::Builder::new().name(name.to_owned());
        // It ends with the store, when the sender goes.
        thread.spawn(move || queue.into_iter().for_each(|job| job()))?;
        Ok(Blocking { jobs })
    }

    /// Does it some time, for nobody.
    pub fn order(&self, job: impl FnOnce() + Send + 'static) {
        // Without the thread every other call fails, too.
        let _ = self.jobs.send(Box::new(job));
    }

    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Fault> {
        let (done, result) = oneshot::channel();
        let job = Box::new(move || {
            let _ = done.send(job()); // whoever asked may have gone
        });
        let gone = || Fault("the store's thread has ended".to_string());
        self.jobs.send(job).map_err(|_| gone())?;
        result.await.map_err(|_| gone())
    }
}
