"""Staff of the lab's members: the same person for the same number, every time."""

GIVEN = """Amina Brian Chloe Daniel Efua Farid Grace Hamish Imogen Jack Kavita Liam Megan Nikhil Orla Priya Quentin Rhys Siân
Tomasz Ursula Victor Wanjiru Xiulan Yusuf Zoë Aoife Björn Ciarán Divya""".split()
FAMILY = """Ahmed Brown Clarke Davies Evans Fraser Green Hughes Iqbal Jones Khan Lewis Morgan Nwosu O'Brien Patel Quinn Roberts
Singh Taylor Underwood Vaughan Williams Xu Young Zielińska Smith-Jones MacDonald Müller Okafor Begum Campbell Dlamini""".split()
# department, site, job titles
DEPARTMENTS = [
    ("Cardiology", "Medicine", ["Consultant Cardiologist", "Cardiac Physiologist", "Staff Nurse", "Ward Clerk"]),
    ("Respiratory", "Medicine", ["Consultant Physician", "Specialist Nurse", "Staff Nurse", "Physiotherapist"]),
    ("Emergency", "Medicine", ["Emergency Consultant", "Foundation Doctor", "Sister", "Healthcare Assistant"]),
    ("Theatres", "Surgery", ["Consultant Anaesthetist", "Theatre Practitioner", "Scrub Nurse", "Porter"]),
    ("Orthopaedics", "Surgery", ["Orthopaedic Surgeon", "Registrar", "Plaster Technician", "Staff Nurse"]),
    ("Maternity", "Women and Children", ["Midwife", "Consultant Obstetrician", "Maternity Support Worker", "Ward Clerk"]),
    ("Paediatrics", "Women and Children", ["Paediatrician", "Children's Nurse", "Play Specialist", "Ward Clerk"]),
    ("Pathology", "Support", ["Biomedical Scientist", "Phlebotomist", "Consultant Pathologist", "Laboratory Assistant"]),
    ("Radiology", "Support", ["Radiographer", "Radiologist", "Sonographer", "Booking Clerk"]),
    ("Pharmacy", "Support", ["Pharmacist", "Pharmacy Technician", "Dispenser", "Stores Assistant"]),
    ("Estates", "Corporate", ["Estates Officer", "Electrician", "Domestic", "Fire Adviser"]),
    ("Human Resources", "Corporate", ["HR Adviser", "Payroll Officer", "Recruitment Lead", "Trainer"]),
]
DIVISIONS = sorted({division for _, division, _ in DEPARTMENTS})


def plain(text):
    """Letters of a mail address."""
    swaps = str.maketrans("âáéèëíóöøúüńñç", "aaeeeiooouunnc")
    return "".join(c for c in text.lower().translate(swaps) if c.isascii() and (c.isalnum() or c == "-"))


def everyone(count, member):
    """So many who are in service and listed; on top of them one in fifty who is disabled and one in sixty who is not listed."""
    leavers, unlisted = count // 50, count // 60
    for number in range(count + leavers + unlisted):
        yield number, person(number, member, enabled=not count <= number < count + leavers, listed=number < count + leavers)


def person(number, member, enabled=True, listed=True):
    """Number counts from 0. The manager of a person is the first of the same department."""
    given, family = GIVEN[number % len(GIVEN)], FAMILY[(number // len(GIVEN) + number * 7) % len(FAMILY)]
    department, division, titles = DEPARTMENTS[number % len(DEPARTMENTS)]
    again = number // (len(GIVEN) * 3)
    local = f"{plain(given)}.{plain(family)}{number}"
    return {
        "account": f"{member}{number:05d}", "given": given, "family": family,
        "display": f"{family.upper()}, {given} ({member.upper()})",
        "cn": f"{given} {family} {number:05d}", "mail": f"{local}@{member}.nhs.test", "upn": f"{local}@{member}.trust.test",
        "phone": f"+44 113 496 {number % 10000:04d}", "mobile": f"+44 7700 9{number % 100000:05d}" if number % 3 else None,
        "title": titles[(number // len(DEPARTMENTS)) % len(titles)], "department": department, "division": division,
        "number": f"{20000000 + number}", "room": f"{'ABCD'[again % 4]}{number % 97:02d}",
        "manager": number % len(DEPARTMENTS) if number >= len(DEPARTMENTS) else None,
        "enabled": enabled, "listed": listed,
    }
