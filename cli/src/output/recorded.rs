//! What an image's file asks for when its image is to be made again.

use std::path::{Path, PathBuf};

use engine::record::UsedLora;
use engine::request::Sampling;

use super::foreign::{self, Foreign};
use super::metadata::{ImageFile, PARAMETERS, input};
use super::parameters::{self, parsed};
use super::recipe::Recipe;
use super::texts::Texts;
use crate::error::CliError;
use crate::input::Stamp;

/// How an image was made, as far as its file tells.
#[derive(Debug)]
pub(crate) struct Recorded {
    /// The image's file.
    pub(crate) path: PathBuf,
    /// The prompt.
    pub(crate) prompt: String,
    /// The negative prompt.
    pub(crate) negative_prompt: Option<String>,
    /// Pixels across.
    pub(crate) width: Option<i64>,
    /// Pixels down.
    pub(crate) height: Option<i64>,
    /// Denoising steps.
    pub(crate) steps: Option<i64>,
    /// How it was sampled, where that is told and can be done here.
    pub(crate) sampling: Option<Sampling>,
    /// Guidance scale.
    pub(crate) cfg_scale: Option<f64>,
    /// Seed of the noise.
    pub(crate) seed: Option<i128>,
    /// All of it, where this program made the image.
    pub(crate) recipe: Option<Recipe>,
    /// How much of the image that it started from was changed.
    pub(crate) strength: Option<f64>,
    /// Its LoRAs.
    pub(crate) loras: Vec<UsedLora>,
    /// The steps of the Lightning LoRA, where one is told.
    pub(crate) lightning: Option<usize>,
    /// What this program's text tells of without telling enough, where the recipe is gone.
    lost: Vec<Lost>,
    /// Name of the model, where it is told.
    model: Option<String>,
    /// Settings of this program's text that are not understood.
    left: Vec<String>,
    /// What another program says of it, where one made it.
    foreign: Option<Foreign>,
}

/// A field of the `parameters` text that an image cannot be made again from.
#[derive(Debug)]
struct Lost {
    key: &'static str,
    value: String,
    /// Any of these flags says it instead.
    flags: &'static [&'static str],
}

/// These fields, and the flags that say the same.
const INSUFFICIENT: [(&str, &[&str]); 8] = [
    ("Lora", &["--lora"]),
    ("Lightning", &["--lightning"]),
    ("Init image", &["--init-image"]),
    ("Mask", &["--mask"]),
    ("Masked area padding", &["--mask-crop"]),
    ("Noise", &["--noise", "--seed"]),
    ("Denoising strength", &["--strength"]),
    ("FP8 compute", &["--fp8-compute"]),
];

impl Recorded {
    /// Reads it from an image of this program's, or from one of another program whose recipe is
    /// understood.
    ///
    /// # Errors
    /// [`CliError::Input`]: the file is missing, damaged, or does not tell.
    pub(crate) fn read(path: &Path) -> Result<Self, CliError> {
        let file = ImageFile::open(path)?;
        if let Some(recipe) = file.recipe()? {
            return Self::of_recipe(path, recipe);
        }
        Self::of_texts(path, &file.texts)
    }

    fn of_texts(path: &Path, texts: &Texts) -> Result<Self, CliError> {
        if let Some(text) = own_text(texts) {
            return Ok(Self::of_own_text(path, text));
        }
        match Self::foreign_of(texts) {
            Ok(Some(foreign)) => Ok(Self::of_foreign(path, foreign)),
            Ok(None) => Err(input(
                path,
                "holds no generation parameters: its program wrote none, or they were removed",
            )),
            Err(reason) => Err(input(path, &reason)),
        }
    }

    /// What another program says in a file's texts; `None` where there is nothing of the kind.
    ///
    /// # Errors
    /// What the file holds that is not read.
    pub(crate) fn foreign_of(texts: &Texts) -> Result<Option<Foreign>, String> {
        if own_text(texts).is_some() {
            return Ok(None);
        }
        match (foreign::recognise(texts)?, texts.what_there_is()) {
            (None, Some(there)) => Err(format!("holds no recipe that is read, only {there}")),
            (found, _) => Ok(found),
        }
    }

    fn of_foreign(path: &Path, foreign: Foreign) -> Self {
        let found = foreign.clone();
        Self {
            path: path.to_owned(),
            prompt: found.prompt,
            negative_prompt: found.negative_prompt,
            width: found.width,
            height: found.height,
            steps: found.steps,
            sampling: found.sampling,
            cfg_scale: found.cfg_scale,
            seed: found.seed,
            strength: found.strength,
            loras: found.loras,
            lightning: found.lightning,
            lost: Vec::new(),
            model: found.model,
            recipe: None,
            left: Vec::new(),
            foreign: Some(foreign),
        }
    }

    fn of_recipe(path: &Path, recipe: Recipe) -> Result<Self, CliError> {
        recipe
            .check()
            .map_err(|reason| input(path, &format!("its recipe cannot be followed: {reason}")))?;
        Ok(Self {
            path: path.to_owned(),
            prompt: recipe.prompt.clone(),
            negative_prompt: recipe.negative_prompt.clone(),
            width: Some(recipe.width.into()),
            height: Some(recipe.height.into()),
            steps: i64::try_from(recipe.steps).ok(),
            sampling: Some(recipe.sampling()),
            cfg_scale: Some(recipe.cfg_scale),
            seed: recipe.seed.map(i128::from),
            strength: recipe.strength,
            loras: recipe.loras.clone(),
            lightning: recipe.lightning,
            lost: Vec::new(),
            model: Some(recipe.model.clone()),
            recipe: Some(recipe),
            left: Vec::new(),
            foreign: None,
        })
    }

    /// What is told by this program's text without the recipe beside it.
    fn of_own_text(path: &Path, text: parsed::Parsed) -> Self {
        let lost = |(key, flags): (&'static str, _)| {
            let value = text.value(key)?.to_owned();
            Some(Lost { key, value, flags })
        };
        let found = Foreign::of_parameters(&text);
        let sampling = parameters::sampling(&text);
        let left = [
            ("Steps", found.steps.is_some()),
            ("Size", found.width.is_some()),
            ("CFG scale", found.cfg_scale.is_some()),
            ("Seed", found.seed.is_some()),
            ("Sampler", sampling.is_some()),
        ];
        let left = left.into_iter().filter_map(|(key, is_taken)| {
            let value = text.value(key).filter(|_| !is_taken)?;
            Some(format!("{key}: {value}"))
        });
        Self {
            path: path.to_owned(),
            width: found.width,
            height: found.height,
            steps: found.steps,
            sampling,
            cfg_scale: found.cfg_scale,
            seed: found.seed,
            strength: found.strength,
            loras: Vec::new(),
            lightning: text
                .value("Lightning")
                .and_then(|steps| steps.trim().parse().ok()),
            lost: INSUFFICIENT.into_iter().filter_map(lost).collect(),
            left: left.collect(),
            recipe: None,
            model: found.model,
            foreign: None,
            prompt: text.prompt,
            negative_prompt: text.negative_prompt,
        }
    }

    /// Refuses an image of this program's that another one has written anew without the recipe,
    /// unless flags say what is lost; `given` tells whether one is there.
    ///
    /// # Errors
    /// [`CliError::Input`] that names what is lost, and the flags.
    pub(crate) fn check_lost(&self, given: impl Fn(&str) -> bool) -> Result<(), CliError> {
        let mut lost = self.lost.iter();
        let Some(Lost { key, value, flags }) =
            lost.find(|lost| !lost.flags.iter().any(|flag| given(flag)))
        else {
            return Ok(());
        };
        Err(input(
            &self.path,
            &format!(
                "another program has written it without its recipe, and what is left, \
                 `{key}: {value}`, does not tell enough: give {}",
                flags.join(" or ")
            ),
        ))
    }

    /// Refuses an image that started from a file's noise.
    ///
    /// # Errors
    /// [`CliError::Input`] that names the noise file.
    pub(crate) fn check_noise(&self) -> Result<(), CliError> {
        match self
            .recipe
            .as_ref()
            .and_then(|recipe| recipe.noise.as_ref())
        {
            Some(noise) => Err(input(
                &self.path,
                &format!(
                    "it was made from the noise in {noise}: name that file with --noise, or \
                     give a --seed"
                ),
            )),
            None => Ok(()),
        }
    }

    /// Refuses an image that started from another, whose file only the user knows.
    ///
    /// # Errors
    /// [`CliError::Input`] that names that image, its mask and the flags.
    pub(crate) fn check_init_image(&self) -> Result<(), CliError> {
        let recipe = self.recipe.as_ref();
        let own = recipe.and_then(|recipe| Some(recipe.init_image.as_ref()?.name.as_str()));
        let foreign = self.foreign.as_ref();
        let foreign = foreign.and_then(|foreign| foreign.init_image.as_deref());
        let Some(init) = own.or(foreign) else {
            return Ok(());
        };
        let mask = recipe.and_then(|recipe| recipe.mask.as_ref());
        let mask = mask.map_or_else(String::new, |mask| {
            format!(", and {} with --mask", mask.name)
        });
        Err(input(
            &self.path,
            &format!("it was made from the image {init}: name that file with --init-image{mask}"),
        ))
    }

    /// Compares the images that this one started from with those at hand. Returns what the user
    /// should know.
    pub(crate) fn check_stamps(
        &self,
        init_image: Option<&Stamp>,
        mask: Option<&Stamp>,
    ) -> Option<String> {
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
    pub(crate) fn check_loras(&self, here: &[UsedLora]) -> Option<String> {
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
    pub(crate) fn check_contents(&self, here: &Recipe) -> Option<String> {
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
    pub(crate) fn check_dtype(&self, here: &str) -> Option<String> {
        let recorded = self.recipe.as_ref()?.dtype.as_deref()?;
        (recorded != here).then(|| {
            format!(
                "{} was computed in {recorded}, and this run computes in {here}: details will \
                 differ (--dtype chooses)",
                self.path.display()
            )
        })
    }

    /// Compares the model with the one at hand. Another program's image is another model's in
    /// any case; `chosen` says that the user named this one's file. Returns what the user should
    /// know.
    ///
    /// # Errors
    /// [`CliError::Input`] for another model than the image's.
    pub(crate) fn check_model(&self, here: &str, chosen: bool) -> Result<Option<String>, CliError> {
        let path = self.path.display();
        let model = self.model.as_deref().unwrap_or("an unknown model");
        if let Some(foreign) = &self.foreign {
            return Ok(Some(format!("{path} {}", foreign.note(here))));
        }
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
        Err(input(
            &self.path,
            &format!(
                "it was made with the model {model}, and the one found is {here}: name the \
                 folder with {model} by --models, or a file to draw with by --transformer"
            ),
        ))
    }
}

/// This program's `parameters` text.
fn own_text(texts: &Texts) -> Option<parsed::Parsed> {
    let text = texts.get(PARAMETERS).and_then(parsed::parse)?;
    let version = text.value("Version")?;
    version.starts_with("qwen-image-burn").then_some(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::{PARAMETERS, Recorded, Texts};

    fn read(text: &str) -> Option<Recorded> {
        let mut texts = Texts::default();
        texts.add(PARAMETERS, text.to_owned());
        Recorded::of_texts(Path::new("x.png"), &texts).ok()
    }

    #[test]
    fn webuis_text_is_read() {
        let found = read(
            "a cat, <lora:x:1>\nsecond line\nNegative prompt: blurry,\nlow quality\nSteps: 20, \
             Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, Seed: 965400086, \
             Size: 512x768, Model hash: 6ce0161689, Model: v1-5, Lora hashes: \"x: ab, y: cd\", \
             Version: v1.10.1",
        )
        .unwrap();
        assert_eq!(found.prompt, "a cat, <lora:x:1>\nsecond line");
        assert_eq!(
            found.negative_prompt.as_deref(),
            Some("blurry,\nlow quality")
        );
        assert_eq!((found.width, found.height), (Some(512), Some(768)));
        assert_eq!(found.steps, Some(20));
        assert_eq!(found.cfg_scale, Some(7.5));
        assert_eq!(found.seed, Some(965_400_086));
        let note = found.check_model("qwen", false).unwrap().unwrap();
        assert!(note.contains("v1-5") && note.contains("x.png"), "{note}");
        assert!(note.contains("not taken: Schedule type: Karras;"), "{note}");
    }

    #[test]
    fn what_is_missing_or_strange_is_left_to_the_flags() {
        let found = read("fox\nSteps: many, Seed: -, Size: 12").unwrap();
        assert_eq!(found.prompt, "fox");
        assert_eq!((found.steps, found.seed, found.width), (None, None, None));
        assert_eq!(found.negative_prompt, None);
        let note = found.check_model("qwen", false).unwrap().unwrap();
        let left = "not taken: Steps: many, Seed: -, Size: 12;";
        assert!(note.contains(left), "{note}");
        for text in ["", "only a prompt", "Steps", "Steps:", "\n\n"] {
            assert!(read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_of_our_own_text_is_told() {
        let own = "fox\nSteps: 2, Sampler: LMS, Seed: x, Size: 16x16, Version: qwen-image-burn 9";
        let note = read(own).unwrap().check_model("a", false).unwrap().unwrap();
        assert!(note.contains("not taken: Seed: x, Sampler: LMS"), "{note}");
    }

    #[test]
    fn another_model_of_ours_is_refused_unless_it_was_chosen() {
        let found =
            read("fox\nSteps: 2, Seed: 1, Model: a, Version: qwen-image-burn 0.1.0").unwrap();
        assert_eq!(found.check_model("a", false).unwrap(), None);
        let error = found.check_model("b", false).unwrap_err().to_string();
        assert!(error.contains("--transformer"), "{error}");
        assert!(found.check_model("b", true).unwrap().is_some());
    }
}
