//! Two series of kernels at the same time, on the main stream and on the side stream.
//!
//! While [`concurrently`] runs its closures, linear layers and layer norms are only noted down:
//! they take the memory of their results, which the closures pass on, and are launched in one run
//! when both closures have returned, the long series on the side stream. What was noted holds a
//! handle of all memory that it reads or writes until both series are ordered before whatever Burn
//! does later, so that Burn never gives memory of one series to the other.

use std::cell::RefCell;
use std::sync::Arc;

use burn_cubecl::cubecl::cuda::CudaRuntime;
use burn_cubecl::cubecl::prelude::ComputeClient;
use cudarc::driver::DriverError;

use super::engine::Engine;
use super::scope::Scope;
use super::series::Series;

/// An operation whose memory is all there, and which can be launched.
pub(super) trait Launch: Send + Sync {
    /// Launches it.
    ///
    /// # Errors
    /// The driver's.
    fn launch(&self, scope: &Scope<'_>) -> Result<(), DriverError>;
}

/// The operations that the open [`concurrently`] of a thread has noted down.
struct Noted {
    /// The engine of the operations; none before the first one.
    engine: Option<(Arc<Engine>, ComputeClient<CudaRuntime>)>,
    series: Series<Box<dyn Launch>>,
}

thread_local! {
    static OPEN: RefCell<Option<Noted>> = const { RefCell::new(None) };
}

/// Implements [`Kernels::concurrently`](crate::kernels::Kernels::concurrently). Within another
/// call, the closures are parts of its series.
pub(super) fn concurrently<S, L>(short: impl FnOnce() -> S, long: impl FnOnce() -> L) -> (S, L) {
    if OPEN.with_borrow(Option::is_some) {
        return (short(), long());
    }
    OPEN.set(Some(Noted {
        engine: None,
        series: Series::new(),
    }));
    // A panic of a closure must not leave its operations to the thread's next work.
    let close = Close;
    let short = short();
    OPEN.with_borrow_mut(|open| {
        if let Some(noted) = open {
            noted.series.begin_long();
        }
    });
    let long = long();
    launch_noted();
    drop(close);
    (short, long)
}

struct Close;

impl Drop for Close {
    fn drop(&mut self) {
        OPEN.set(None);
    }
}

/// Launches an operation, or notes it down while [`concurrently`] is open.
pub(super) fn launch(
    engine: &Arc<Engine>,
    client: &ComputeClient<CudaRuntime>,
    operation: impl Launch + 'static,
) {
    let operation: Box<dyn Launch> = Box::new(operation);
    let at_once = OPEN.with_borrow_mut(|open| {
        let Some(noted) = open else {
            return Some(operation);
        };
        let at_once = noted.series.note(operation);
        if at_once.is_none() {
            let (known, _) = noted
                .engine
                .get_or_insert_with(|| (engine.clone(), client.clone()));
            debug_assert!(Arc::ptr_eq(known, engine), "both series are of one device");
        }
        at_once
    });
    if let Some(operation) = at_once {
        engine.run(client, |scope| operation.launch(scope));
    }
}

/// Launches what was noted down so far.
pub(super) fn launch_noted() {
    let noted = OPEN.with_borrow_mut(|open| {
        let noted = open.as_mut()?;
        let (engine, client) = noted.engine.take()?;
        let (short, long) = noted.series.take();
        Some((engine, client, short, long))
    });
    let Some((engine, client, short, long)) = noted else {
        return;
    };
    let all = |series: &[Box<dyn Launch>], scope: &Scope<'_>| {
        series
            .iter()
            .try_for_each(|operation| operation.launch(scope))
    };
    engine.run(&client, |scope| match (&short[..], &long[..]) {
        (series, []) | ([], series) => all(series, scope),
        (short, long) => {
            // The side stream starts a little later than the main one, and the few short kernels
            // must not wait until the long ones are done.
            scope.on_side_stream(|| all(long, scope))?;
            all(short, scope)
        }
    });
}

/// Runs an operation that is never noted down, after what was noted before it.
pub(super) fn at_once<T, C>(operation: impl FnOnce() -> Result<T, C>) -> Result<T, C> {
    launch_noted();
    operation().map_err(handed_back)
}

/// Passes on the inputs of an operation that Burn computes instead of us.
pub(super) fn handed_back<C>(call: C) -> C {
    end();
    call
}

/// Launches what was noted down, and lets the rest of both closures launch operations at once:
/// Burn's own operations are about to read results.
pub(super) fn end() {
    launch_noted();
    OPEN.with_borrow_mut(|open| {
        if let Some(noted) = open {
            noted.series.end();
        }
    });
}
