"""Given names that are common in the United States and Europe: a cue that the next capitalised word is a surname.

Own selection from the most frequent entries of the US Social Security baby-name tables (public domain) and the
common names of the larger European languages, without those that are ordinary English words (Will, Mark, Grace).
"""

from __future__ import annotations

GIVEN_NAMES = frozenset(
    (
        "aaron", "abigail", "adam", "adrian", "agnes", "aidan", "alan", "albert", "alberto", "alejandro", "alex",
        "alexander", "alexandra", "alexei", "alfred", "ali", "alice", "alicia", "alison", "amanda", "amelia", "amir",
        "amy", "ana", "anders", "andrea", "andreas", "andrei", "andres", "andrew", "andrzej", "angela", "anita", "ann",
        "anna", "anne", "annette", "annie", "anthony", "antoine", "anton", "antonio", "arjun", "arthur", "ashley",
        "astrid", "audrey", "barbara", "beatrice", "benjamin", "bernard", "beth", "betty", "beverly", "bjorn", "bob",
        "bogdan", "boris", "brandon", "brenda", "brian", "bridget", "bruce", "bruno", "bryan", "camille", "carl",
        "carla", "carlos", "carmen", "carol", "carolina", "caroline", "carolyn", "caterina", "catherine", "cecilia",
        "charles", "charlotte", "cheryl", "chris", "christian", "christina", "christine", "christopher", "claire",
        "clara", "claude", "claudia", "colin", "connor", "craig", "cristina", "cynthia", "daniel", "daniela",
        "danielle", "david", "deborah", "debra", "denise", "dennis", "derek", "diana", "diane", "diego", "dmitri",
        "dominic", "donald", "donna", "dorothy", "douglas", "duncan", "dylan", "edith", "eduardo", "edward", "eileen",
        "elaine", "eleanor", "elena", "eli", "elias", "elisabeth", "elise", "elizabeth", "ella", "ellen", "emilie",
        "emily", "emma", "eric", "erica", "erik", "erika", "ernest", "ethan", "eugene", "eva", "evan", "evelyn",
        "fatima", "felix", "fernando", "fiona", "frances", "francesca", "francesco", "francis", "francisco", "frank",
        "frederick", "frida", "friedrich", "gabriel", "gabriela", "gareth", "gary", "geoffrey", "george", "georgia",
        "gerald", "giovanni", "giulia", "gloria", "gordon", "greg", "gregory", "guillaume", "gustav", "hanna", "hannah",
        "hans", "harold", "harry", "hassan", "heather", "hector", "heidi", "helen", "helena", "helga", "henrik",
        "henry", "herbert", "howard", "hugo", "ian", "ibrahim", "igor", "ingrid", "irene", "isaac", "isabel",
        "isabella", "ivan", "jack", "jackie", "jacob", "jacqueline", "jacques", "jaime", "james", "jamie", "jan",
        "jane", "janet", "janice", "jason", "javier", "jean", "jeff", "jeffrey", "jennifer", "jens", "jeremy", "jerry",
        "jesse", "jessica", "jill", "jim", "joan", "joanna", "joanne", "joao", "joel", "johan", "johannes", "john",
        "johnny", "jonas", "jonathan", "jordan", "jorge", "jose", "joseph", "joshua", "joyce", "juan", "juanita",
        "judith", "judy", "julia", "julian", "julie", "justin", "kaitlyn", "karen", "karin", "karl", "katarina", "kate",
        "katherine", "kathleen", "kathryn", "kathy", "katie", "keith", "kelly", "kenneth", "kerstin", "kevin", "kim",
        "kimberly", "klaus", "kristen", "kristina", "kurt", "kyle", "lars", "laura", "lauren", "lawrence", "leah",
        "lena", "leo", "leon", "leonard", "leonardo", "leslie", "liam", "lidia", "linda", "lisa", "logan", "lois",
        "lorenzo", "lori", "louis", "louise", "luca", "lucas", "lucia", "lucy", "luigi", "luis", "lukas", "luke",
        "lynn", "madison", "magda", "magnus", "malcolm", "manuel", "marco", "marcus", "margaret", "maria", "marie",
        "marilyn", "mario", "marion", "marta", "martha", "martin", "mary", "mateo", "matthew", "maureen", "maurice",
        "max", "maximilian", "megan", "melanie", "melissa", "mette", "michael", "michal", "michel", "michele",
        "michelle", "miguel", "mikael", "mike", "mikhail", "mila", "milena", "miriam", "mohamed", "mohammed", "monica",
        "monika", "muhammad", "nancy", "natalia", "natalie", "natasha", "nathan", "neil", "nicholas", "nicola",
        "nicolas", "nicole", "nigel", "nikolai", "nina", "noah", "nora", "norma", "oleg", "olga", "oliver", "olivia",
        "oscar", "otto", "owen", "pablo", "pamela", "paolo", "patricia", "patrick", "paul", "paula", "pauline", "pavel",
        "pedro", "peggy", "peter", "petra", "philip", "phillip", "phyllis", "pierre", "piotr", "priya", "rachel",
        "rafael", "ralph", "ramon", "raymond", "rebecca", "regina", "ricardo", "richard", "rita", "robert", "roberta",
        "roberto", "robin", "rodrigo", "roger", "roland", "ronald", "rosa", "roxanne", "roy", "russell", "ruth", "ryan",
        "sabrina", "samantha", "samuel", "sandra", "sara", "sarah", "scott", "sean", "sebastian", "sergei", "sergio",
        "sharon", "sheila", "shirley", "silvia", "simon", "simone", "sofia", "sofie", "sonia", "sophia", "sophie",
        "stanley", "stefan", "stella", "stephanie", "stephen", "steve", "steven", "stuart", "susan", "suzanne", "sven",
        "sylvia", "tamara", "tanya", "tatiana", "teresa", "thelma", "theodore", "theresa", "thomas", "tiffany",
        "timothy", "tina", "tobias", "tom", "tomas", "tony", "tracy", "tyler", "ursula", "valentina", "valerie",
        "vanessa", "vera", "veronica", "victor", "victoria", "viktor", "vincent", "vladimir", "walter", "wendy",
        "wilhelm", "william", "wolfgang", "xavier", "yolanda", "yusuf", "yvonne", "zachary", "zoe",
    )
)  # fmt: skip
