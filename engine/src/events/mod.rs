//! Events of a session, and the token that ends its work.

mod cancel;
mod guard;
mod note;
mod observer;
mod status;

pub use cancel::CancelToken;
pub use guard::{Guard, NoGuard};
pub use note::Note;
pub use observer::{Activity, Collected, Drawn, Event, MemoryWhen, Observer, Values};
pub use status::Status;
