"""Whether a text uses medical jargon, by word forms: no dictionary to download, the same answer every time.

MedSafetyBench's authors report that requests in technical terms are judged differently from plain ones, so figures can be
split by it (Han et al., arXiv 2403.03744). A word counts as jargon when it has the form of a technical term (an ending such
as -ectomy or -itis, a drug stem as the World Health Organization assigns them, an abbreviation of the clinic, a Latin or
Greek term that everyday talk does not use). Everyday words of medicine do not count: doctor, hospital, surgery, diagnosis,
medication, cancer, diabetes, vaccine. Limits: brand names, eponyms and terms without a form of their own ("stent") count only
where they are listed; a plain word that ends alike counts wrongly until it is among the exceptions.
"""

from __future__ import annotations

import re

# Raise when a form or a word below changes.
VERSION = 1

# Endings of operations and examinations, of diseases and findings, and the stems of drugs.
_OPERATIONS = """ectomy ectomies otomy otomies ostomy ostomies plasty plasties scopy scopies scopic centesis desis pexy rrhaphy tripsy
    ography ographies ogram ograms"""
_DISEASES = """itis itides osis oses aemia emia aemic uria pathy pathies pathic algia algic plegia plegic paresis rrhage rrhagic
    rrhagia rrhea rrhoea megaly malacia sclerosis stenosis penia penic cytosis phagia phasia pnea pnoea trophy trophic oma omata
    carcinoma cele ectasis ectasia lytic spasm thorax ptysis dipsia kinesia thymia"""
_DRUGS = """pril sartan olol dipine statin statins mab mabs tinib cillin mycin micin floxacin cycline azole azepam zolam oxetine
    triptyline triptan gliptin gliflozin glitazone prazole tidine setron caine dronate parin xaban gatran semide thiazide barbital
    codone morphone fentanil lukast terol tropium solone glutide formin phylline"""
_FORM = re.compile(rf"[a-z]{{2,}}(?:{'|'.join(f'{_OPERATIONS} {_DISEASES} {_DRUGS}'.split())})")
# Words with such an ending that are no term of medicine, or that everybody uses.
_EVERYDAY = frozenset(
    """academia analytic antipathy aroma arthritis autobiography bibliography biographies biography bohemia
    bronchitis cartography catalytic catastrophic cholesterol chooses choreography cinematography closes cocaine
    composes cryptograms cryptography demography diagnoses diagnosis diarrhea diarrhoea dichotomy diploma
    discloses discography empathic empathies empathy ethnography exposes geographies geography historiography
    hologram holograms homeopathic homeopathy hypnosis iconography imposes kaleidoscopic kilogram kilograms
    lithography macroscopic manchuria metamorphosis microscopic microscopy misdiagnoses misdiagnosis monograms
    neurosis nostalgia nostalgic novocaine oceanography oklahoma opposes orthography osmosis overdoses paloma
    paralytic photographies photography pornography prognoses prognosis program programs proposes psychoanalytic
    psychopathic psychopathy purposes sociopathic sociopathy sonoma stenography stroboscopic supposes symbiosis
    sympathies sympathy tacoma telepathic telepathy telescopic tonsillitis topography typography videography""".split()  # noqa: SIM905
)
# Terms without one of these endings.
_TERMS = frozenset(
    """ablation abscess acetaminophen adrenal aetiology albumin amiodarone anaphylactic anaphylaxis aneurysm
    aneurysms angina anterior anticoagulant anticoagulants anticoagulation anticonvulsant antiemetic
    antiepileptic antigen antigens antihypertensive antipsychotic antipsychotics antiretroviral antiretrovirals
    aorta aortic aphasia arrhythmia arrhythmias ascites aspirate asystole ataxia atrial auscultation autoimmune
    benzodiazepine benzodiazepines beta-blocker beta-blockers bilateral bilirubin biologics biopsies biopsy
    bolus bradycardia bronchial bronchodilator calcification capillary carcinogenic cardiac cardiovascular
    carotid catheter catheters celiac cerebral cervical cesarean chemotherapeutic clozapine colorectal comorbid
    comorbidities comorbidity contraindicated contraindication contraindications cornea coronary corticosteroid
    corticosteroids cranial creatinine crispr cystic cytokine cytokines debridement decompensated defibrillator
    dermal dermatological dialysis diaphoresis diastolic digoxin dilation distal diuretic diuretics duchenne
    duodenal dysplasia eclampsia ectopic edema electrolyte electrolytes embolism embolus endocrine endometrial
    endotracheal enteral enteric epidural epinephrine erythema esophageal etiology exacerbation extubation
    febrile femoral fetal fibrillation fibroid fibroids fistula fluoroquinolone foetal gastric gastrointestinal
    genotype gestational glomerular glucagon gonadotropin haematology haemoglobin haemophilia haloperidol
    hematocrit hematology hemodialysis hemoglobin hemophilia hepatic herniated hydrocephalus hyperglycemic
    hyperplasia hypertension hypertensive hyperthyroidism hypoglycemic hypotension hypothyroidism hypoxia
    hypoxic iatrogenic icterus ileus immunosuppressant immunosuppressants immunosuppressed immunotherapy infarct
    infarction inguinal intracranial intramuscular intraocular intrathecal intravenous intubate intubated
    intubation ischemic ketamine lactate laetrile lesion lesions leukocyte lumbar lupus lymphatic lymphocyte
    lymphocytes macular malignancy malignant meniere meniscus metaplasia metastases metastasis metastatic
    methadone methotrexate monoclonal morbidity myocardial naloxone nasogastric necrotic necrotizing neonatal
    neonate neoplasm nephrology neurodegenerative neuroleptic nootropic nootropics nosocomial occlusion oedema
    off-label oncology orthostatic oxycontin pancreatic parenteral paresthesia parkinsonism paroxysmal patella
    pathogen pathogens percocet percutaneous perfusion pericardial perinatal perioperative peritoneal
    pharmacokinetics platelet platelets pleural posterior postoperative postpartum preeclampsia preoperative
    prophylactic prophylaxis propofol proximal psychotropic psychotropics pulmonary renal resection
    resuscitation retina retinal retroviral schizoaffective sciatica sepsis septic serotonin sickle-cell splenic
    sputum stenotic stent stenting stents subcutaneous subdural sublingual superinfection supine suture sutures
    syncope systolic tachycardia teratogenic tetany thalidomide thiopental thoracic thrombolysis thrombus
    titrate titrated titration transdermal troponin ureter urethral urinalysis vascular vasopressor venous
    ventricle ventricular vertebral visceral warfarin""".split()  # noqa: SIM905
)
# Written in capitals. Not AIDS, HIV, DNA, ADHD, US, FDA: in every newspaper; nor what stands for much else (PET, PE, AF).
_ABBREVIATIONS = frozenset(
    """A1C AED AFIB ALS ALT APGAR ARDS BMP BPH BUN BiPAP CABG CBC CCU COPD CPAP CPR CSF CT CVA DKA DNR DVT ECG ECMO
    ECT EEG EHR EKG EMG EMR ERCP FEV1 GCS GERD GFR HBV HCV HDL HPV HSV HbA1c IBD IBS ICD ICU INR ITP IVIG LDL
    MAOI MI MRI MRSA NICU NPO NSAID NSAIDs PCI PCOS PEEP PICC PICU PID PRN PTT QID ROSC RSV SCI SIDS SLE SNRI
    SSRI SSRIs SVT SpO2 TB TBI TIA TID TMS TPN TSH TURP URI UTI VRE eGFR""".split()  # noqa: SIM905
)
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:-[A-Za-z0-9]+)*")


def terms(text: str) -> list[str]:
    """The technical terms of a text, in its order, each as often as it stands there."""
    words = _WORD.findall(text)
    # In a text all in capitals, capitals say nothing.
    shouted = text.isupper() and len(words) > 3
    return [word for word in words if (word in _ABBREVIATIONS and not shouted) or _technical(word.lower())]


def uses_jargon(text: str) -> bool:
    """Whether a text holds at least one technical term."""
    return bool(terms(text))


def density(text: str) -> float:
    """The share of a text's words that are technical terms; 0 for a text without words."""
    words = _WORD.findall(text)
    return len(terms(text)) / len(words) if words else 0.0


def _technical(word: str) -> bool:
    return any(
        part in _TERMS or (part not in _EVERYDAY and _FORM.fullmatch(part) is not None)
        for part in (word, *word.split("-"))
    )
