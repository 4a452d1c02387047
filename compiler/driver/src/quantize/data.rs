//! Calibration data: where samples come from and how they are read, one at a time, so that memory does not grow with
//! their number. What is done with them is decided elsewhere.

use super::images::{self, Preprocess};
use crate::engine::{EngineError, check_inputs};
use crate::npz::{self, INPUT, NpyReader, OUTPUT};
use crate::{Error, NamedTensor};
use abi::manifest::{self, Manifest};
use ir::DType;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Told a sample's number and its inputs; says whether to go on.
pub type Visit<'a> = dyn FnMut(usize, &[NamedTensor]) -> Result<bool, Error> + 'a;

/// Files with samples, in order.
#[derive(Debug)]
pub struct Data {
    files: Vec<PathBuf>,
    manifest: Manifest,
    preprocess: Preprocess,
}

impl Data {
    /// `path` is an `.npz` or `.npy` file, an image, or a folder of such files.
    pub fn open(path: &Path, manifest: &Manifest, preprocess: Preprocess) -> Result<Data, Error> {
        let mut files = vec![path.to_path_buf()];
        if path.is_dir() {
            let entries = std::fs::read_dir(path).map_err(|source| Error::file("read", path, source))?;
            files = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|file| is_data(file)).collect();
            files.sort();
            if files.is_empty() {
                let sentence = format!("the folder {} holds no calibration data", path.display());
                return Err(Error::Usage(format!("{sentence}\nhint: .npz, .npy, .png and .jpg files are read")));
            }
        }
        Ok(Data { files, manifest: manifest.clone(), preprocess })
    }

    /// Visits every sample; their number.
    ///
    /// # Errors
    /// A file that cannot be read, elements that are not finite, tensors that do not fit the model, no sample at all.
    pub fn for_each(&self, visit: &mut Visit) -> Result<usize, Error> {
        let mut count = 0;
        let mut go_on = true;
        for file in &self.files {
            if !go_on {
                break;
            }
            let mut checked = |sample: &[NamedTensor]| {
                self.check(file, sample)?;
                count += 1;
                visit(count - 1, sample)
            };
            go_on = match images::is_image(file) {
                true => checked(&self.image(file)?)?,
                false => self.arrays(file, &mut checked)?,
            };
        }
        match count {
            0 => Err(Error::Usage(format!("{}: there is no calibration sample", self.files[0].display()))),
            n => Ok(n),
        }
    }

    fn image(&self, file: &Path) -> Result<Vec<NamedTensor>, Error> {
        let [input] = &self.manifest.inputs[..] else {
            let sentence =
                format!("{}: an image can be the only input of a model; this one has {}", file.display(), self.manifest.inputs.len());
            return Err(Error::Usage(format!("{sentence}\nhint: calibrate with arrays: --calibrate DATA.npz")));
        };
        let tensor = images::read(file, &crate::engine::shape(input), self.preprocess)?;
        Ok(vec![NamedTensor::new(&input.name, tensor)])
    }

    fn check(&self, file: &Path, sample: &[NamedTensor]) -> Result<(), Error> {
        let at = |error: EngineError| Error::Usage(format!("{}: {error}", file.display()));
        check_inputs(&self.manifest, sample).map_err(at)?;
        for input in sample {
            let finite = input.tensor.dtype != DType::F32 || input.tensor.as_slice::<f32>().iter().all(|x| x.is_finite());
            if !finite {
                let sentence = format!("{}: the array `{}` holds numbers that are NaN or infinite", file.display(), input.name);
                return Err(Error::Usage(format!("{sentence}\nhint: leave such samples out")));
            }
        }
        Ok(())
    }

    /// Samples of an array file: every array holds one sample, or all of them along its first axis.
    fn arrays(&self, file: &Path, visit: &mut dyn FnMut(&[NamedTensor]) -> Result<bool, Error>) -> Result<bool, Error> {
        let mut archives = vec![];
        let mut opened = File::open(file).map_err(|source| Error::file("read", file, source))?;
        if !npz::is_archive(&mut opened).map_err(|source| Error::file("read", file, source))? {
            let [input] = &self.manifest.inputs[..] else {
                let names: Vec<&str> = self.manifest.inputs.iter().map(|i| i.name.as_str()).collect();
                let sentence = format!("{}: the model has several inputs ({})", file.display(), names.join(", "));
                return Err(Error::Usage(format!("{sentence}\nhint: put them into one .npz file, under their names")));
            };
            let reader = NpyReader::new(Box::new(opened)).map_err(|error| npz::in_file(file, &error))?;
            return self.samples(file, &mut [(input.name.clone(), reader)], visit);
        }
        for _ in &self.manifest.inputs {
            let opened = File::open(file).map_err(|source| Error::file("read", file, source))?;
            archives.push(npz::archive(opened).map_err(|error| npz::in_file(file, &error))?);
        }
        let keys: Vec<String> =
            archives.first().map(|a| a.file_names().filter_map(|name| Some(name.ok()?.into_owned())).collect()).unwrap_or_default();
        let mut readers = vec![];
        for (input, archive) in self.manifest.inputs.iter().zip(&mut archives) {
            let name = input.name.as_str();
            let wanted = [format!("{INPUT}{name}.npy"), format!("{name}.npy")];
            let plain: Vec<&String> = keys.iter().filter(|k| !k.starts_with(OUTPUT)).collect();
            // A single array belongs to a single input, whatever its name.
            let only = (self.manifest.inputs.len() == 1 && plain.len() == 1).then(|| plain[0].clone());
            let Some(key) = wanted.iter().find(|w| keys.contains(w)).cloned().or(only) else {
                let found: Vec<&str> = keys.iter().map(|k| k.trim_end_matches(".npy")).collect();
                let sentence = format!("{} has no array for the input `{name}`", file.display());
                return Err(Error::Usage(format!("{sentence}\nhint: it holds: {}", found.join(", "))));
            };
            let entry = archive.by_name(&key).map_err(|error| npz::in_file(file, &error.into()))?;
            let reader = NpyReader::new(Box::new(entry)).map_err(|error| npz::in_file(file, &error))?;
            readers.push((input.name.clone(), reader));
        }
        self.samples(file, &mut readers, visit)
    }

    fn samples(
        &self,
        file: &Path,
        readers: &mut [(String, NpyReader)],
        visit: &mut dyn FnMut(&[NamedTensor]) -> Result<bool, Error>,
    ) -> Result<bool, Error> {
        // How many samples an array holds; 0 for one that does not divide into samples, which is read whole and reported.
        let count = |reader: &NpyReader, port: &manifest::Tensor| {
            if port.sizes.is_some() {
                // Free sizes: an array is one sample, whatever its shape.
                return Some(1);
            }
            let shape = crate::engine::shape(port);
            let (stacked, rest) = match (&reader.shape[..], &shape[..]) {
                ([n, rest @ ..], _) if rest == shape => (*n, true),
                ([n, rest @ ..], [first, own @ ..]) if rest == own && n % first.max(&1) == 0 => (n / first.max(&1), true),
                _ => (0, false),
            };
            rest.then_some(stacked)
        };
        let mut counts = vec![];
        for ((_, reader), port) in readers.iter().zip(&self.manifest.inputs) {
            counts.push(count(reader, port));
        }
        if counts.iter().any(Option::is_none) {
            let whole = readers.iter_mut().map(|(name, reader)| {
                let shape = reader.shape.clone();
                Ok(NamedTensor::new(name.as_str(), reader.next(&shape).map_err(|error| npz::in_file(file, &error))?))
            });
            return visit(&whole.collect::<Result<Vec<_>, Error>>()?);
        }
        let counts: Vec<usize> = counts.into_iter().flatten().collect();
        let most = counts.iter().copied().max().unwrap_or(0);
        if counts.iter().any(|n| *n != most) {
            let each: Vec<String> = readers.iter().zip(&counts).map(|((name, _), n)| format!("{name}: {n}")).collect();
            return Err(Error::Usage(format!("{}: the arrays hold different numbers of samples ({})", file.display(), each.join(", "))));
        }
        for _ in 0..most {
            let mut sample = vec![];
            for ((name, reader), port) in readers.iter_mut().zip(&self.manifest.inputs) {
                let shape = if port.sizes.is_some() { reader.shape.clone() } else { crate::engine::shape(port) };
                let tensor = reader.next(&shape).map_err(|error| npz::in_file(file, &error))?;
                sample.push(NamedTensor::new(name.as_str(), npz::restored(tensor, crate::engine::dtype(port))));
            }
            if !visit(&sample)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn is_data(path: &Path) -> bool {
    let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
    images::is_image(path) || extension.is_some_and(|e| ["npz", "npy"].contains(&e.as_str()))
}

/// The tensor of a port, for a test that has no module.
#[cfg(test)]
fn port(name: &str, shape: &[u64]) -> manifest::Tensor {
    manifest::Tensor { name: name.into(), dtype: "f32".into(), shape: shape.into(), sizes: None, offset: 0, bytes: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ir::Tensor;

    fn samples(arrays: &[(&str, &[usize])], ports: &[manifest::Tensor]) -> Result<Vec<Vec<Tensor>>, String> {
        let folder = tempfile::tempdir().unwrap();
        let arrays: Vec<NamedTensor> =
            arrays.iter().map(|(name, shape)| NamedTensor::new(*name, Tensor::random(DType::F32, shape, 3))).collect();
        let path = folder.path().join("data.npz");
        std::fs::write(&path, npz::npz_bytes(&arrays).unwrap()).unwrap();
        let data = Data::open(&path, &Manifest { inputs: ports.to_vec(), ..Manifest::default() }, Preprocess::Imagenet).unwrap();
        let mut seen = vec![];
        data.for_each(&mut |_, sample| {
            seen.push(sample.iter().map(|s| s.tensor.clone()).collect());
            Ok(true)
        })
        .map_err(|error| error.to_string().replace(&folder.path().display().to_string(), ""))?;
        Ok(seen)
    }

    #[test]
    fn arrays_are_cut_into_samples() {
        let image = port("x", &[1, 3, 4]);
        assert_eq!(samples(&[("x", &[5, 3, 4])], std::slice::from_ref(&image)).unwrap().len(), 5);
        assert_eq!(samples(&[("images", &[5, 1, 3, 4])], std::slice::from_ref(&image)).unwrap().len(), 5, "the only array");
        let two = samples(&[("b", &[4, 2]), ("input:a", &[2, 3])], &[port("a", &[1, 3]), port("b", &[2, 2])]).unwrap();
        assert_eq!(two.len(), 2);
        assert_eq!(two[1][0].as_slice::<f32>(), &Tensor::random(DType::F32, &[2, 3], 3).as_slice::<f32>()[3..]);
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let image = port("x", &[1, 3, 4]);
        let error = |arrays: &[(&str, &[usize])]| samples(arrays, std::slice::from_ref(&image)).unwrap_err();
        assert!(error(&[("x", &[5, 3, 5])]).contains("the input `x` has the wrong shape: expected f32[1, 3, 4], found f32[5, 3, 5]"));
        assert_eq!(error(&[("x", &[0, 3, 4])]), "/data.npz: there is no calibration sample");
        assert!(error(&[("y", &[5, 3, 4]), ("z", &[1])]).contains("has no array for the input `x`\nhint: it holds: y, z"));
        let ports = [port("a", &[1, 3]), port("b", &[1, 2])];
        let uneven = samples(&[("a", &[2, 3]), ("b", &[3, 2])], &ports).unwrap_err();
        assert_eq!(uneven, "/data.npz: the arrays hold different numbers of samples (a: 2, b: 3)");
    }
}
