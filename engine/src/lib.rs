//! Qwen-Image as an application core, for a command line, a server or a test.
//!
//! A [`Session`] holds models that are open on a device. Opening reads the files' headers and
//! checks that they fit each other and the device. A [`Request`] says what to draw; the session
//! [plans](Session::plan) the memory that it takes and [draws](Session::generate) it, phase by
//! phase: the text encoder turns prompts into embeddings, the transformer noise into latents, the
//! VAE latents into pixels. [`Keep`] says which models stay in memory between jobs.
//!
//! Nothing is printed and no file is written but what a caller names: an [`Observer`] gets events,
//! previews and the finished images, a [`CancelToken`] ends a job at its next step, and an error of
//! one job is no error of the next. Messages name no flags; a front end that has flags adds them.
//! Faults that only a whole process can see, as a panic on a thread of a device, come from the
//! caller by an [`events::Guard`].
//!
//! ```no_run
//! use engine::{CancelToken, Collected, ComputeConfig, Keep, ModelSources, Request, Session};
//!
//! # fn main() -> Result<(), engine::Error> {
//! let sources = ModelSources::folder("models");
//! let mut session = Session::open(&sources, ComputeConfig::default())?;
//! let request = Request::new("a red fox in the snow", 1);
//! session.plan(std::slice::from_ref(&request))?.check()?;
//!
//! let mut images = Collected::default();
//! let cancel = CancelToken::new();
//! session.generate(vec![request], Keep::OneAtATime, &mut images, &cancel)?;
//! for drawn in images.0 {
//!     println!("{}x{} by {}", drawn.image.width, drawn.image.height, drawn.recipe.model);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`request`] | what can be asked for, as checked values |
//! | [`models`] | finding, opening and checking the model files, LoRAs, the demo model |
//! | [`plan`] | the memory of each phase, whether it fits, and what would help |
//! | `session` | jobs, the phases, and which models stay |
//! | [`events`] | what a session tells, cancelling, the guard of the process |
//! | [`image`], [`record`], [`files`] | pixels, recipes and metadata, files that are whole or not there |
//! | [`prompt_cache`], [`modulation_cache`], [`kept_latents`] | what later runs need not compute again |
//! | [`rates`] | how fast disks read and devices compute |

pub mod bytes;
mod cache;
mod error;
pub mod events;
pub mod files;
pub mod image;
pub mod kept_latents;
pub mod models;
pub mod modulation_cache;
pub mod plan;
pub mod prompt_cache;
pub mod rates;
pub mod record;
pub mod request;
mod session;
pub mod text;

pub use error::{Error, one_line};
pub use events::{CancelToken, Collected, Drawn, Event, Observer};
pub use request::{ComputeConfig, ModelSources, Request};
pub use session::{Embeddings, Figures, ImageJob, Job, Keep, KeptFolders, Session, Settled};
