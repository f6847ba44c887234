//! The end of a scope.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::{Scope, io_error};
use crate::blocking::blocking;
use crate::error::{Error, ErrorKind, Result};

/// How long a close waits for cleanups, unless it is told otherwise. An abort is one short request, and has room here for some
/// that fail first; who shuts down is given as long by most supervisors, which kill after 10 s (Docker) to 30 s (Kubernetes).
pub(crate) const CLOSE_LIMIT: Duration = Duration::from_secs(10);

/// How long operations may take to notice the close. Those that are polled need one turn of their runtime; those that are not
/// would never notice.
const LET_GO: Duration = Duration::from_secs(1);

impl Scope {
    /// Ends the scope: running operations end with `Closed`, what they leave is cleaned up, and the directory is removed with
    /// all that is in it.
    pub(crate) async fn close_within(self: &Arc<Self>, limit: Duration) -> Result<()> {
        self.closed.cancel();
        self.running.close();
        self.aborts.close();
        let cleaned_up = async {
            let _ = tokio::time::timeout(LET_GO, self.running.wait()).await;
            self.aborts.wait().await;
        };
        let unfinished = match tokio::time::timeout(limit, cleaned_up).await {
            Ok(()) => 0,
            Err(_) => self.aborts.len(),
        };
        self.remove_directory().await?;
        match unfinished {
            0 => Ok(()),
            1 => Err(Error::new(ErrorKind::Timeout, format!("1 cleanup was under way after {limit:?}, and goes on"))),
            more => {
                let problem = format!("{more} cleanups were under way after {limit:?}, and go on");
                Err(Error::new(ErrorKind::Timeout, problem))
            }
        }
    }

    /// Waits until no operation is running, for so long; whether that is so.
    pub(crate) async fn drain(&self, limit: Duration) -> bool {
        self.running.close();
        tokio::time::timeout(limit, self.running.wait()).await.is_ok()
    }

    async fn remove_directory(self: &Arc<Self>) -> Result<()> {
        let scope = Arc::clone(self);
        blocking(move || {
            // Whoever closes too waits here, until the directory is gone.
            let mut leaving = scope.leaving.lock().unwrap_or_else(PoisonError::into_inner);
            let made = scope.directory.write().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(directory) = &made {
                *leaving = directory.temp.write().unwrap_or_else(PoisonError::into_inner).take();
            }
            if let Some(directory) = leaving.as_mut() {
                directory.remove().map_err(|error| io_error("could not remove", directory.path(), error))?;
                *leaving = None;
            }
            if let Some(directory) = made {
                directory.kept.lock().unwrap_or_else(PoisonError::into_inner).clear();
            }
            Ok(())
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::path::Path;

    use futures::FutureExt as _;
    use tokio::sync::Notify;
    use tokio::time::Instant;

    use super::*;
    use crate::blocking::Workers;

    /// A scope with a directory, and the tmproot that has nothing else.
    async fn open() -> (Arc<Scope>, tempfile::TempDir) {
        let tmproot = tempfile::tempdir().unwrap();
        let scope = Arc::new(Scope::new(tmproot.path().to_owned(), Workers::new(), Arc::default()));
        scope.directory().await.unwrap();
        (scope, tmproot)
    }

    fn entries(tmproot: &tempfile::TempDir) -> usize {
        std::fs::read_dir(tmproot.path()).unwrap().count()
    }

    /// A cleanup that ends when it is told to.
    fn cleanup(scope: &Scope) -> Arc<Notify> {
        let end = Arc::new(Notify::new());
        let told = Arc::clone(&end);
        scope.aborts.spawn(async move { told.notified().await });
        end
    }

    fn kind(closed: Result<()>) -> Option<ErrorKind> {
        closed.err().map(|error| error.kind())
    }

    #[tokio::test]
    async fn a_close_waits_for_cleanups_and_then_the_directory_goes() {
        let (scope, tmproot) = open().await;
        let end = cleanup(&scope);
        let mut close = Box::pin(scope.close_within(CLOSE_LIMIT));
        for _ in 0..100 {
            assert!((&mut close).now_or_never().is_none());
            tokio::task::yield_now().await;
        }
        assert_eq!(entries(&tmproot), 1);
        end.notify_one();
        close.await.unwrap();
        assert_eq!(entries(&tmproot), 0);
    }

    #[tokio::test]
    async fn what_an_operation_begins_as_it_ends_is_waited_for() {
        struct Cleaning(Arc<Scope>, Arc<Notify>);
        impl Drop for Cleaning {
            fn drop(&mut self) {
                let (done, scope) = (Arc::clone(&self.1), Arc::clone(&self.0));
                self.0.aborts.spawn(async move {
                    assert!(scope.check_open().is_err());
                    tokio::task::yield_now().await;
                    done.notify_one();
                });
            }
        }
        let (scope, _tmproot) = open().await;
        let done = Arc::new(Notify::new());
        let (begun, cleaning) = (Arc::new(Notify::new()), Cleaning(Arc::clone(&scope), Arc::clone(&done)));
        let (within, told) = (Arc::clone(&scope), Arc::clone(&begun));
        let operation = tokio::spawn(async move {
            let running = async move {
                let _cleaning = cleaning;
                told.notify_one();
                pending::<Result<()>>().await
            };
            within.unless_closed(running).await
        });
        begun.notified().await;
        scope.close_within(CLOSE_LIMIT).await.unwrap();
        assert!(done.notified().now_or_never().is_some(), "the close came before the cleanup");
        assert_eq!(kind(operation.await.unwrap()), Some(ErrorKind::Closed));
    }

    #[tokio::test(start_paused = true)]
    async fn after_the_limit_the_directory_goes_and_the_cleanups_go_on() {
        let (scope, tmproot) = open().await;
        let ends = [cleanup(&scope), cleanup(&scope)];
        let begun = Instant::now();
        let error = scope.close_within(Duration::from_secs(3)).await.unwrap_err();
        assert_eq!((error.kind(), begun.elapsed()), (ErrorKind::Timeout, Duration::from_secs(3)));
        assert!(error.to_string().contains("2 cleanups"), "{error}");
        assert_eq!(entries(&tmproot), 0);

        ends[0].notify_one();
        let error = scope.close_within(Duration::from_millis(1)).await.unwrap_err();
        assert!(error.to_string().contains("1 cleanup "), "{error}");
        ends[1].notify_one();
        scope.close_within(Duration::from_secs(1)).await.unwrap();
        scope.close_within(Duration::ZERO).await.unwrap();
        scope.close_within(Duration::MAX).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_operation_that_nobody_polls_holds_a_close_up_for_a_second_only() {
        let (scope, tmproot) = open().await;
        let mut operation = Box::pin(scope.unless_closed(pending::<Result<()>>()));
        assert!((&mut operation).now_or_never().is_none());
        let begun = Instant::now();
        scope.close_within(CLOSE_LIMIT).await.unwrap();
        assert_eq!((begun.elapsed(), entries(&tmproot)), (LET_GO, 0));
        assert_eq!(kind(operation.await), Some(ErrorKind::Closed));
    }

    #[tokio::test(start_paused = true)]
    async fn every_one_of_several_closes_waits_for_the_end() {
        for multiple in [2, 8] {
            let (scope, tmproot) = open().await;
            let directory = scope.directory().await.unwrap();
            for number in 0..200 {
                std::fs::write(directory.path.join(number.to_string()), "x").unwrap();
            }
            let end = cleanup(&scope);
            let (root, expected) = (tmproot.path().to_owned(), directory.path.clone());
            let gone = |root: &Path| !expected.exists() && root.exists();
            let closes = (0..multiple).map(|_| async {
                scope.close_within(CLOSE_LIMIT).await.unwrap();
                assert!(gone(&root), "a close ended before the directory was removed");
            });
            let ended = async {
                tokio::time::sleep(Duration::from_secs(5)).await;
                end.notify_one();
            };
            futures::join!(futures::future::join_all(closes), ended);
        }
    }

    #[tokio::test]
    async fn a_close_that_is_dropped_has_closed_and_another_one_removes_the_directory() {
        let (scope, tmproot) = open().await;
        let end = cleanup(&scope);
        assert!(scope.close_within(CLOSE_LIMIT).now_or_never().is_none());
        assert_eq!(kind(scope.check_open()), Some(ErrorKind::Closed));
        assert_eq!(kind(scope.directory().await.map(drop)), Some(ErrorKind::Closed));
        assert_eq!(entries(&tmproot), 1);
        end.notify_one();
        scope.close_within(CLOSE_LIMIT).await.unwrap();
        assert_eq!(entries(&tmproot), 0);

        let (scope, tmproot) = open().await;
        let _end = cleanup(&scope);
        assert!(scope.close_within(CLOSE_LIMIT).now_or_never().is_none());
        drop(scope);
        assert_eq!(entries(&tmproot), 0);
    }

    /// Dropped after each number of polls, until it ends by itself.
    #[tokio::test(start_paused = true)]
    async fn wherever_a_close_is_dropped_the_next_one_ends_the_scope() {
        for polls in 0.. {
            let (scope, tmproot) = open().await;
            let end = cleanup(&scope);
            let mut close = Box::pin(scope.close_within(CLOSE_LIMIT));
            let mut ended = false;
            for _ in 0..polls {
                ended = (&mut close).now_or_never().is_some();
                if ended {
                    break;
                }
                end.notify_one();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            drop(close);
            assert_eq!(scope.check_open().is_err(), polls > 0);
            end.notify_one();
            scope.close_within(CLOSE_LIMIT).await.unwrap();
            assert_eq!(entries(&tmproot), 0);
            if ended {
                assert!(polls > 1, "a close waits");
                return;
            }
        }
    }

    #[tokio::test]
    async fn a_directory_that_somebody_removed_is_gone() {
        let (scope, tmproot) = open().await;
        let path = scope.directory().await.unwrap().path.clone();
        std::fs::remove_dir_all(path).unwrap();
        scope.close_within(CLOSE_LIMIT).await.unwrap();
        assert_eq!(entries(&tmproot), 0);
    }
}
