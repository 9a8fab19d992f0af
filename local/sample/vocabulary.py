"""Words that the sample's names, titles and captions are put together from."""

FIRST_NAMES = (
    "Ada", "Amara", "Anouk", "Arjun", "Astrid", "Beatriz", "Björn", "Camille", "Chidi", "Chloé", "Daniel", "Dilara",
    "Elif", "Emeka", "Enzo", "Esther", "Farah", "Fatima", "Felix", "Freja", "Giulia", "Hana", "Hugo", "Ines", "Ivan",
    "Jasper", "Joana", "Jun", "Kaito", "Karim", "Lars", "Leila", "Lucía", "Mateo", "Mei", "Milan", "Naomi", "Nils",
    "Noor", "Olga", "Omar", "Paula", "Priya", "Quinn", "Rafael", "Rosa", "Samir", "Sofia", "Tariq", "Thandi", "Uma",
    "Viktor", "Wanjiru", "Xin", "Yara", "Yusuf", "Zoë", "Zofia",
)  # fmt: skip

LAST_NAMES = (
    "Adeyemi", "Almeida", "Andersson", "Bauer", "Bianchi", "Castillo", "Chen", "Costa", "Dubois", "Eriksen",
    "Fischer", "García", "Haddad", "Hansen", "Ito", "Ivanova", "Jansen", "Kaya", "Kim", "Kowalska", "Lindqvist",
    "Mendoza", "Moreau", "Müller", "Nakamura", "Ndiaye", "Nguyen", "Novak", "O'Brien", "Okafor", "Olsen", "Patel",
    "Petrov", "Rossi", "Santos", "Sato", "Schmidt", "Singh", "Tanaka", "Usman", "van Dijk", "Varga", "Weber",
    "Yılmaz", "Zhang",
)  # fmt: skip

HANDLES = (
    "atlas", "bakes", "bikes", "blooms", "brews", "builds", "camera", "ceramics", "climbs", "coastal", "cooks",
    "cycles", "daily", "designs", "diary", "draws", "eats", "films", "fit", "forest", "garden", "goods", "hikes",
    "homes", "journal", "kitchen", "knits", "lens", "maps", "notes", "outdoors", "paints", "plates", "reads",
    "roasts", "runs", "sews", "shoots", "sketches", "sounds", "studio", "styles", "surfs", "tastes", "trails",
    "travels", "vinyl", "waves", "woodwork", "writes",
)  # fmt: skip

PLATFORMS = (
    "instagram", "tiktok", "youtube", "x", "facebook", "linkedin",
)  # fmt: skip

BRANDS = (
    "Northwind Coffee", "Lumen Skincare", "Harbor Cycles", "Juniper Home", "Peak & Pine", "Saltwater Swim",
    "Copper Kettle", "Field Notes Tea", "Meridian Audio", "Wren Stationery",
)  # fmt: skip

GROUPS = (
    "Ambassadors", "Creators", "Retail partners", "Launch team", "Regional", "Press", "Athletes", "Alumni",
)  # fmt: skip

OPENINGS = (
    "Sunday morning with", "Finally tried", "A quiet hour with", "Behind the scenes of",
    "Three things we learned from", "We said goodbye to", "First light on", "Back in the studio for",
    "Small batch, big plans:", "Ask me anything about", "Rain or shine,", "You asked, so here is", "Day 14 of",
    "Not sponsored, just in love with", "Sneak peek:", "The making of", "Throwback to", "New on the shelf:",
    "Swipe for", "Packing for",
)  # fmt: skip

SUBJECTS = (
    "the autumn collection", "our new roast", "a 40 km ride along the coast", "the ceramics workshop",
    "a slow breakfast", "the summer sale", "the trail above Bergen", "five recipes for two", "the refill programme",
    "a record from 1974", "the team in São Paulo", "hand-dyed linen", "a tiny balcony garden", "the winter swim club",
    "this week's market haul", "our first pop-up in 東京", "the longest night of the year", "two cups and a map",
    "the repair café", "a very old recipe",
)  # fmt: skip

ENDINGS = (
    "What would you add?", "Link in bio.", "See you there!", "More on Thursday.", "Tell us below 👇",
    "Thank you all ❤️", "Full story in the comments.", "It was worth the wait.", "Recipe to follow.",
    "Tag a friend who needs this.", "Back soon ✨", "Free shipping until Friday.", "Doors open at 10:00.",
    "Photo by a friend.", "No filter needed 🌿",
)  # fmt: skip

HASHTAGS = (
    "slowliving", "coffeetime", "madebyhand", "weekendvibes", "smallbusiness", "outdoors", "plantbased", "interiors",
    "behindthescenes", "cycling", "skincare", "streetfood", "repair", "vinylcommunity", "ceramics", "wildswimming",
)  # fmt: skip

TASK_VERBS = (
    "Review", "Approve", "Schedule", "Draft", "Translate", "Check", "Archive", "Follow up on", "Renew", "Report on",
)  # fmt: skip

TASK_OBJECTS = (
    "the spring campaign", "creator contracts", "captions for next week", "the brand guidelines", "overdue replies",
    "account access", "the product shots", "the influencer list", "consent forms", "the monthly figures",
    "duplicate accounts", "the giveaway terms", "the crisis plan", "image rights", "the posting calendar",
)  # fmt: skip
