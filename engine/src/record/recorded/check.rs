//! The comparison of a record with the run that makes the image again.

use super::Recorded;
use crate::error::Error;
use crate::image::Stamp;
use crate::record::{Foreign, Incomplete, LostSetting, Recipe, UsedLora};

impl Recorded {
    /// The record of another program, where one made the image.
    pub fn foreign(&self) -> Option<&Foreign> {
        self.foreign.as_ref()
    }

    /// Refuses an image of this program's that another program has written anew without the recipe,
    /// unless the settings that are lost are given; `given` tells which are.
    ///
    /// # Errors
    /// [`Incomplete::Lost`].
    pub fn check_lost(&self, given: impl Fn(LostSetting) -> bool) -> Result<(), Error> {
        let mut lost = self.lost.iter();
        match lost.find(|(setting, _)| !given(*setting)) {
            Some((setting, value)) => Err(self.incomplete(Incomplete::Lost {
                setting: *setting,
                value: value.clone(),
            })),
            None => Ok(()),
        }
    }

    /// Refuses an image that started from a file's noise.
    ///
    /// # Errors
    /// [`Incomplete::Noise`].
    pub fn check_noise(&self) -> Result<(), Error> {
        let noise = self.recipe.as_ref().and_then(|recipe| recipe.noise.clone());
        match noise {
            Some(noise) => Err(self.incomplete(Incomplete::Noise(noise))),
            None => Ok(()),
        }
    }

    /// Refuses an image that started from another one, whose file only the user knows.
    ///
    /// # Errors
    /// [`Incomplete::InitImage`].
    pub fn check_init_image(&self) -> Result<(), Error> {
        let recipe = self.recipe.as_ref();
        let own = recipe.and_then(|recipe| Some(recipe.init_image.as_ref()?.name.clone()));
        let foreign = || self.foreign.as_ref()?.init_image.clone();
        let Some(image) = own.or_else(foreign) else {
            return Ok(());
        };
        let mask = recipe.and_then(|recipe| Some(recipe.mask.as_ref()?.name.clone()));
        Err(self.incomplete(Incomplete::InitImage { image, mask }))
    }

    /// Compares the images that this one started from with those at hand. Returns what the user
    /// should know.
    pub fn check_stamps(&self, init_image: Option<&Stamp>, mask: Option<&Stamp>) -> Option<String> {
        let recipe = self.recipe.as_ref()?;
        // A file may have another name by now.
        let contents = |stamp: Option<&Stamp>| stamp.map(|stamp| stamp.sha256.clone());
        let recorded = [recipe.init_image.as_ref(), recipe.mask.as_ref()].map(contents);
        if recorded == [init_image, mask].map(contents) {
            return None;
        }
        Some(format!(
            "{} was made from another image or mask; the result will be another",
            self.path.display()
        ))
    }

    /// Compares the LoRAs' files with those of the same names at hand. Returns what the user should
    /// know.
    pub fn check_loras(&self, here: &[UsedLora]) -> Option<String> {
        let recorded = &self.recipe.as_ref()?.loras;
        let other = recorded.iter().find(|lora| {
            let same_name = |found: &&UsedLora| found.file == lora.file;
            let found = here.iter().find(same_name);
            found.is_some_and(|found| found.differs_from(lora))
        })?;
        Some(format!(
            "{} was made with another file {}; the result will be another",
            self.path.display(),
            other.file
        ))
    }

    /// Compares the models' files with those of the same names at hand, of which `here` is made.
    /// Returns what the user should know.
    pub fn check_contents(&self, here: &Recipe) -> Option<String> {
        let recorded = self.recipe.as_ref()?;
        let names = |of: &Recipe| {
            let model = Some(of.model.clone());
            [model, of.text_encoder.clone(), of.vae.clone()]
        };
        let digests = |of: &Recipe| {
            let text_encoder = of.text_encoder_digest.clone();
            [of.model_digest.clone(), text_encoder, of.vae_digest.clone()]
        };
        let recorded_files = names(recorded).into_iter().zip(digests(recorded));
        let mut pairs = recorded_files.zip(names(here).into_iter().zip(digests(here)));
        let ((name, _), _) = pairs.find(|((name, digest), (name_here, digest_here))| {
            name == name_here && digest.is_some() && digest != digest_here
        })?;
        Some(format!(
            "{} was made with another file called {}; the result will be another",
            self.path.display(),
            name.unwrap_or_default()
        ))
    }

    /// Compares the number format with the one at hand, as recipes name it. Returns what the user
    /// should know.
    pub fn check_dtype(&self, here: &str) -> Option<String> {
        let recorded = self.recipe.as_ref()?.dtype.as_deref()?;
        (recorded != here).then(|| {
            format!(
                "{} was computed in {recorded}, and this run computes in {here}: details will \
                 differ",
                self.path.display()
            )
        })
    }

    /// Compares the model with the one at hand; `chosen` says that the user named this one's file.
    /// Returns what the user should know. Another program's image ([`Self::foreign`]) is another
    /// model's in any case, and is not compared.
    ///
    /// # Errors
    /// [`Incomplete::OtherModel`].
    pub fn check_model(&self, here: &str, chosen: bool) -> Result<Option<String>, Error> {
        if self.foreign.is_some() {
            return Ok(None);
        }
        let path = self.path.display();
        let model = self.model.as_deref().unwrap_or("an unknown model");
        let left = (!self.left.is_empty()).then(|| {
            let left = self.left.join(", ");
            format!("{path} has settings that are not understood and not taken: {left}")
        });
        if self.model.as_deref().is_none_or(|model| model == here) {
            return Ok(left);
        }
        if chosen {
            let other =
                format!("{path} was made with {model}; with {here} the image will be another");
            let both: Vec<String> = left.into_iter().chain([other]).collect();
            return Ok(Some(both.join("; ")));
        }
        Err(self.incomplete(Incomplete::OtherModel {
            recorded: model.to_owned(),
            here: here.to_owned(),
        }))
    }

    fn incomplete(&self, reason: Incomplete) -> Error {
        Error::Incomplete {
            path: self.path.clone(),
            reason,
        }
    }
}
