//! One pull for everybody who asks for the same thing at the same time.
//!
//! The work runs in a task of its own: a caller that goes away leaves it to the others, and the last one to go ends it.

use crate::config::Auth;
use crate::error::{ImageError, PullError};
use crate::image::ImageInfo;
use crate::progress::{ProgressEvent, ProgressSink};
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The same image, asked for with the same credentials.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct FlightKey {
    pub(crate) image: String,
    pub(crate) auth: Option<Auth>,
}

type Answer = Result<ImageInfo, ImageError>;

#[derive(Default)]
pub(crate) struct Flights(Mutex<HashMap<FlightKey, Arc<Flight>>>);

struct Flight {
    answer: watch::Receiver<Option<Answer>>,
    cancel: CancellationToken,
    audience: Audience,
    waiting: Mutex<usize>,
}

impl Flights {
    fn lock(&self) -> MutexGuard<'_, HashMap<FlightKey, Arc<Flight>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the pull under way, or begins it with `work`.
    pub(crate) async fn join<F>(
        self: &Arc<Self>,
        key: FlightKey,
        sink: &ProgressSink,
        cancel: &CancellationToken,
        work: impl FnOnce(ProgressSink) -> F,
    ) -> Answer
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let flight = self.board(&key, sink, work);
        let _seat = Seat {
            flights: Arc::clone(self),
            flight: Arc::clone(&flight),
            key: key.clone(),
        };
        let mut answer = flight.answer.clone();
        let failed = |source| {
            Err(ImageError::Pull {
                image: key.image.clone(),
                source,
            })
        };
        tokio::select! {
            // Cancel-safe: `wait_for` only looks.
            result = answer.wait_for(Option::is_some) => match result {
                Ok(answer) => answer.clone().unwrap_or_else(|| failed(PullError::Cancelled)),
                // The task is gone without an answer: it was cancelled, or it panicked.
                Err(_) => failed(PullError::Cancelled),
            },
            // Cancel-safe: a token stays cancelled.
            () = cancel.cancelled() => failed(PullError::Cancelled),
        }
    }

    fn board<F>(
        self: &Arc<Self>,
        key: &FlightKey,
        sink: &ProgressSink,
        work: impl FnOnce(ProgressSink) -> F,
    ) -> Arc<Flight>
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let mut flights = self.lock();
        if let Some(flight) = flights.get(key) {
            *lock(&flight.waiting) += 1;
            flight.audience.add(sink.clone());
            return Arc::clone(flight);
        }
        let (tell, answer) = watch::channel(None);
        let audience = Audience::default();
        audience.add(sink.clone());
        let flight = Arc::new(Flight {
            answer,
            cancel: CancellationToken::new(),
            audience: audience.clone(),
            waiting: Mutex::new(1),
        });
        flights.insert(key.clone(), Arc::clone(&flight));
        let all = ProgressSink::new(move |event| audience.tell(event));
        let work = work(all);
        let cancel = flight.cancel.clone();
        let (flights, key, own) = (Arc::clone(self), key.clone(), Arc::clone(&flight));
        tokio::spawn(async move {
            let answer = tokio::select! {
                answer = work => Some(answer),
                // Dropping the work undoes it: nothing half done outlives it.
                () = cancel.cancelled() => None,
            };
            flights.forget(&key, &own);
            // Nobody may be waiting any more.
            tell.send_replace(answer);
        });
        flight
    }

    /// Whoever asks from now on begins anew.
    fn forget(&self, key: &FlightKey, flight: &Arc<Flight>) {
        let mut flights = self.lock();
        if flights
            .get(key)
            .is_some_and(|other| Arc::ptr_eq(other, flight))
        {
            flights.remove(key);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One who waits.
struct Seat {
    flights: Arc<Flights>,
    flight: Arc<Flight>,
    key: FlightKey,
}

impl Drop for Seat {
    fn drop(&mut self) {
        // In the order in which `board` takes them, so that nobody boards a flight that is being cancelled.
        let mut flights = self.flights.lock();
        let mut waiting = lock(&self.flight.waiting);
        *waiting -= 1;
        if *waiting == 0 {
            self.flight.cancel.cancel();
            if flights
                .get(&self.key)
                .is_some_and(|other| Arc::ptr_eq(other, &self.flight))
            {
                flights.remove(&self.key);
            }
        }
    }
}

/// Everybody who watches; who comes late is told what the image is made of.
#[derive(Clone, Default)]
struct Audience(Arc<Mutex<(Vec<ProgressSink>, Option<ProgressEvent>)>>);

impl Audience {
    fn add(&self, sink: ProgressSink) {
        let resolved = {
            let mut audience = lock(&self.0);
            audience.0.push(sink.clone());
            audience.1.clone()
        };
        if let Some(event) = resolved {
            sink.tell(&event);
        }
    }
    fn tell(&self, event: &ProgressEvent) {
        let sinks = {
            let mut audience = lock(&self.0);
            if matches!(event, ProgressEvent::Resolved { .. }) {
                audience.1 = Some(event.clone());
            }
            audience.0.clone()
        };
        for sink in sinks {
            sink.tell(event);
        }
    }
}
