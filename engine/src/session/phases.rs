//! The phases of a job, one after the other.

use backends::DeviceChoice;

use super::draw::{Draw, Encoded};
use super::encode::Encode;
use super::encode_image::EncodeImage;
use super::prepare::Prepare;
use super::run::Run;
use super::waiting::Waiting;
use super::{Embeddings, Places};
use crate::error::Error;
use crate::events::{Event, Status};

impl Run<'_> {
    /// Draws all images, each phase on its device.
    ///
    /// # Errors
    /// The errors of the phases; [`Error::Interrupted`].
    pub(super) fn draw(
        &mut self,
        places: &mut Places,
        device: &DeviceChoice,
        embeds: Embeddings,
    ) -> Result<(), Error> {
        let session = self.session;
        let prepare = Prepare {
            arithmetic: session.compute.arithmetic,
            dtype: self.setting.dtype,
        };
        for note in backends::dispatch(device, prepare)? {
            self.note(note);
        }
        self.waiting = Waiting::of(session, self.job, device);
        let found = self.waiting.found();
        if !found.is_empty() {
            self.tell(Status::LatentsKept {
                images: found.len(),
            });
        }
        self.observer.event(Event::Denoised(found));
        let (embeds, moments) = if self.waiting.complete() {
            (Vec::new(), Vec::new())
        } else {
            let embeds = if embeds.complete() {
                embeds.into_all()?
            } else {
                let encoder = session.encoder_device(device);
                let encode = Encode {
                    run: self,
                    places,
                    elsewhere: encoder != *device,
                    embeds,
                };
                backends::dispatch(&encoder, encode)??
            };
            let encode = EncodeImage { run: self, places };
            (embeds, backends::dispatch(device, encode)??)
        };
        let draw = Draw {
            run: self,
            places,
            encoded: Encoded { embeds, moments },
        };
        backends::dispatch(device, draw)?
    }
}
