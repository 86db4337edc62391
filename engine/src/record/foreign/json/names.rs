//! The names that programs have for the settings in their JSON.

/// The names of a program's settings, in small letters and without what stands between words.
pub(super) struct Names {
    pub(super) program: &'static str,
    pub(super) prompt: &'static [&'static str],
    pub(super) negative: &'static [&'static str],
    pub(super) scale: &'static [&'static str],
    pub(super) model: &'static [&'static str],
    pub(super) strength: &'static [&'static str],
    /// The settings that do not change the image, or that another one tells as well.
    pub(super) tell_nothing: &'static [&'static str],
}

pub(super) const INVOKEAI: Names = Names {
    program: "InvokeAI",
    prompt: &["positiveprompt", "prompt"],
    negative: &["negativeprompt"],
    scale: &["cfgscale"],
    model: &["model", "modelweights"],
    strength: &["strength"],
    tell_nothing: &[
        "appversion",
        "generationmode",
        "vae",
        "type",
        "qwenvlencoder",
        "randdevice",
        "imagestoragelocation",
    ],
};
pub(super) const FOOOCUS: Names = Names {
    program: "Fooocus",
    prompt: &["prompt"],
    negative: &["negativeprompt"],
    scale: &["guidancescale"],
    model: &["basemodel", "model"],
    strength: &[],
    tell_nothing: &[
        "version",
        "metadatascheme",
        "createdby",
        "basemodelhash",
        "vae",
        "fullprompt",
        "fullnegativeprompt",
    ],
};
pub(super) const SWARMUI: Names = Names {
    program: "SwarmUI",
    prompt: &["prompt"],
    negative: &["negativeprompt"],
    scale: &["cfgscale"],
    model: &["model"],
    strength: &["initimagecreativity"],
    tell_nothing: &[
        "swarmversion",
        "aspectratio",
        "images",
        "date",
        "generationtime",
        "preptime",
        "gentime",
        "nopreviews",
        "wildcardseed",
        "imageformat",
        "personalnote",
        "vae",
        "qwenmodel",
        "originalprompt",
        "originalnegativeprompt",
        "usedwildcards",
        "automaticvae",
        "resolution",
    ],
};
pub(super) const NOVELAI: Names = Names {
    program: "NovelAI",
    prompt: &["prompt"],
    negative: &["uc", "negativeprompt"],
    scale: &["scale"],
    model: &["model", "source"],
    strength: &["strength"],
    tell_nothing: &[
        "signedhash",
        "requesttype",
        "nsamples",
        "v4prompt",
        "v4negativeprompt",
        "version",
        "legacyv3extend",
    ],
};
pub(super) const MFLUX: Names = Names {
    program: "mflux",
    prompt: &["prompt"],
    negative: &["negativeprompt"],
    scale: &["guidance"],
    model: &["model", "basemodel"],
    strength: &["imagestrength"],
    tell_nothing: &[
        "mfluxversion",
        "precision",
        "quantize",
        "generationtimeseconds",
        "generationtime",
        "createdat",
        "basemodel",
        "metadataschemaversion",
    ],
};
pub(super) const DRAW_THINGS: Names = Names {
    program: "Draw Things",
    prompt: &["c"],
    negative: &["uc"],
    scale: &["scale"],
    model: &["model"],
    strength: &["strength"],
    tell_nothing: &["v2", "profile"],
};
