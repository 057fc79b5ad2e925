//! What a response has used, as its provider counts it.

/// Counts of tokens; `None` where the provider doesn't say. Formats differ in what their counts
/// include: here `input` and `output` are the sums of all that was read and written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// All tokens read, those from and into a cache included.
    pub input: Option<u64>,
    /// Of these, those read from a cache.
    pub cache_read: Option<u64>,
    /// Of these, those written into a cache.
    pub cache_write: Option<u64>,
    /// Of those written, those for an hour.
    pub cache_write_hour: Option<u64>,
    /// Of those read, those of sound.
    pub input_audio: Option<u64>,
    /// All tokens written, those of reasoning included.
    pub output: Option<u64>,
    /// Of these, those of reasoning.
    pub reasoning: Option<u64>,
    /// Of these, those of sound.
    pub output_audio: Option<u64>,
}

impl Usage {
    /// Takes what a later report says; what it leaves out stays.
    pub fn add(&mut self, later: Self) {
        let take = |before: &mut Option<u64>, later: Option<u64>| *before = later.or(*before);
        take(&mut self.input, later.input);
        take(&mut self.cache_read, later.cache_read);
        take(&mut self.cache_write, later.cache_write);
        take(&mut self.cache_write_hour, later.cache_write_hour);
        take(&mut self.input_audio, later.input_audio);
        take(&mut self.output, later.output);
        take(&mut self.reasoning, later.reasoning);
        take(&mut self.output_audio, later.output_audio);
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Tokens read that were neither read from a cache nor written into one, as some formats count.
    #[must_use]
    pub fn uncached_input(&self) -> u64 {
        let cached = self
            .cache_read
            .unwrap_or(0)
            .saturating_add(self.cache_write.unwrap_or(0));
        self.input.unwrap_or(0).saturating_sub(cached)
    }

    /// The sum of what was read and written.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.input
            .unwrap_or(0)
            .saturating_add(self.output.unwrap_or(0))
    }
}
